"""One delta ADS stream as a state machine: requests and snapshots in, responses out. No input, no output, no clock.

The protocol is Envoy's "incremental xDS" over one aggregated stream. What matters here: a resource is sent when the
client wants it and does not have this version; nothing is sent twice. An answer is acknowledged or refused as a whole,
by its nonce, and Envoy's words for a refusal do not tell what of it was applied: it applies the good ones of refused
clusters and listeners, none behind the first bad one of other kinds, none at all when it cannot read one (1.40). What
was refused is sent again in halves until a refusal is of one resource, so that a bad one never hurts a good one.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from agent.plan.plan import ResourceName, Xds

# Makes before breaks: what others refer to comes first and goes last.
SEND_ORDER = (Xds.CLUSTER, Xds.ENDPOINT, Xds.EXTENSION, Xds.LISTENER, Xds.ROUTE)
BACKENDS = (Xds.CLUSTER, Xds.ENDPOINT)
# What waits for the backends that it names.
HELD_BACK = (Xds.LISTENER, Xds.ROUTE)
WILDCARD_KINDS = (Xds.CLUSTER, Xds.LISTENER)
WILDCARD = "*"


@dataclass(frozen=True, slots=True)
class Request:
    """A DeltaDiscoveryRequest. `initial` are versions that the client has from an earlier stream."""

    kind: Xds
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A DeltaDiscoveryResponse: names and versions to send, names that are no more."""

    kind: Xds
    nonce: str
    resources: Mapping[str, str]
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Kind:
    """What the client wants of one kind, has, and was told and has not answered."""

    opened: bool = False
    greeted: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, Response] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names


class Stream:
    """One client's stream."""

    def __init__(self) -> None:
        self._kinds = {kind: _Kind() for kind in Xds}
        self._wanted: dict[Xds, dict[str, str]] | None = None
        self._leads: Mapping[ResourceName, Collection[str]] = {}
        self._count = 0
        # Clusters that were sent on this stream: each waits for its endpoints, also where Envoy has had them before.
        self._renewed: set[str] = set()
        self.rejected: dict[ResourceName, str] = {}

    def on_snapshot(
        self, versions: Mapping[ResourceName, str], leads: Mapping[ResourceName, Collection[str]]
    ) -> list[Response]:
        """Everything that shall be, by version; returns what to send now. Before the first one nothing is said.

        `leads` are the clusters that a route table or a listener names.
        """
        self._leads = leads
        self._wanted = {kind: {} for kind in Xds}
        for name, version in versions.items():
            self._wanted[name.kind][name.name] = version
        self.rejected = {name: text for name, text in self.rejected.items() if self._is_current(name)}
        return self._difference()

    def on_request(self, request: Request) -> list[Response]:
        """A subscription, an acknowledgement or a refusal; returns what to send now."""
        state = self._kinds[request.kind]
        if not state.opened:
            self._open(request)
        again = self._answered(request.kind, request.nonce, request.error) if request.nonce else []
        self._subscribe(state, request)
        if self._wanted is None:
            return again
        # What was held back for this kind may go now.
        sent = [self._send(kind) for kind in SEND_ORDER if kind in (request.kind, Xds.ENDPOINT, *HELD_BACK)]
        removed = [self._remove(kind) for kind in reversed(SEND_ORDER)]
        return [response for response in (*again, *sent, *removed) if response is not None]

    def retry(self, name: ResourceName) -> list[Response]:
        """Send again what was refused, if it is what shall be still: the reason may have passed."""
        version = self._of(name.kind).get(name.name)
        if name not in self.rejected or version is None:
            return []
        return [self._respond(name.kind, {name.name: version}, ())]

    @property
    def acknowledged(self) -> set[ResourceName]:
        """Resources that the client has in the version that they shall have."""
        return {
            ResourceName(kind, name)
            for kind, versions in (self._wanted or {}).items()
            for name, version in versions.items()
            if self._kinds[kind].acknowledged.get(name) == version
        }

    @property
    def told(self) -> set[ResourceName]:
        """Resources that the client has, in whatever version, or may have: removals count once they are answered."""
        leaving = (
            ResourceName(kind, name)
            for kind, state in self._kinds.items()
            for response in state.waiting.values()
            for name in response.removed
        )
        return {ResourceName(kind, name) for kind, state in self._kinds.items() for name in state.sent} | {*leaving}

    def mistrust(self, lacks: Iterable[ResourceName], keeps: Iterable[ResourceName]) -> list[Response]:
        """The client does not have what it acknowledged, or has what it should not: returns what mends it."""
        for name in lacks:
            for known in (self._kinds[name.kind].sent, self._kinds[name.kind].acknowledged):
                known.pop(name.name, None)
        for name in keeps:
            self._kinds[name.kind].sent.setdefault(name.name, "")
        return self._difference()

    def _difference(self) -> list[Response]:
        """What is wanted and not there, then what is there and not wanted."""
        updates = [self._send(kind) for kind in SEND_ORDER]
        removals = [self._remove(kind) for kind in reversed(SEND_ORDER)]
        return [response for response in (*updates, *removals) if response is not None]

    def _is_done(self, kind: Xds, name: str) -> bool:
        """Whether the client has this, or has refused it, or nobody waits for it."""
        version = self._of(kind).get(name)
        resource = ResourceName(kind, name)
        has = version is None or self._kinds[kind].acknowledged.get(name) == version
        return has or resource in self.rejected or self._is_moot(resource)

    def _leads_somewhere(self, name: ResourceName) -> bool:
        """Whether the client has all that this leads to, as far as it shall have it.

        Endpoints count before the client asks for them: it does so a moment after it took the cluster, and until it
        has them a route to that cluster is answered 503.
        """
        return all(self._is_done(kind, cluster) for cluster in self._leads.get(name, ()) for kind in BACKENDS)

    def _is_moot(self, name: ResourceName) -> bool:
        """Whether nobody waits for this: endpoints whose cluster was refused or is not sent, unwanted route tables."""
        if name.kind is Xds.ENDPOINT:
            return name.name not in self._of(Xds.CLUSTER) or ResourceName(Xds.CLUSTER, name.name) in self.rejected
        return not self._kinds[name.kind].wants(name.name)

    def _is_current(self, name: ResourceName) -> bool:
        """Whether what was refused is still what shall be."""
        return self._of(name.kind).get(name.name) == self._kinds[name.kind].sent.get(name.name)

    def _open(self, request: Request) -> None:
        """The first request of a kind: all or by name, and what the client has from before."""
        state = self._kinds[request.kind]
        renewed = self._renewed if request.kind is Xds.ENDPOINT else set()
        known = {name: version for name, version in request.initial.items() if name not in renewed}
        state.opened = True
        state.wildcard = request.kind in WILDCARD_KINDS and not request.subscribe
        state.greeted = bool(request.initial)
        state.sent |= known
        state.acknowledged |= known

    def _renew(self, clusters: Iterable[str]) -> None:
        """Envoy lets a cluster that changed wait for endpoints, and does not ask for them again (1.40): forget that it
        has them, or it waits 15 s.
        """
        self._renewed |= set(clusters)
        for known in (self._kinds[Xds.ENDPOINT].sent, self._kinds[Xds.ENDPOINT].acknowledged):
            for name in clusters:
                known.pop(name, None)

    @staticmethod
    def _subscribe(state: _Kind, request: Request) -> None:
        for name in request.subscribe:
            state.wildcard |= name == WILDCARD
            state.names |= {name} - {WILDCARD}
            # Asking again for what was sent is asking for it to be sent again (the client forgot it).
            if not request.initial:
                state.sent.pop(name, None)
            state.absent.discard(name)
        for name in request.unsubscribe:
            state.wildcard &= name != WILDCARD
            state.names.discard(name)
            for known in (state.sent, state.acknowledged):
                known.pop(name, None)

    def _answered(self, kind: Xds, nonce: str, error: str) -> list[Response]:
        """An answer to a response; returns the halves of a refused one, to learn which resource is bad."""
        state = self._kinds[kind]
        response = state.waiting.pop(nonce, None)
        sent = response.resources if response else {}
        current = {name: version for name, version in sent.items() if state.sent.get(name) == version}
        if error and len(sent) > 1:
            names = sorted(current)
            halves = (names[: len(names) // 2], names[len(names) // 2 :])
            return [self._respond(kind, {name: current[name] for name in half}, ()) for half in halves if half]
        for name, version in current.items():
            if error:
                self.rejected[ResourceName(kind, name)] = error
            else:
                state.acknowledged[name] = version
                self.rejected.pop(ResourceName(kind, name), None)
        return []

    def _of(self, kind: Xds) -> dict[str, str]:
        return (self._wanted or {}).get(kind, {})

    def _send(self, kind: Xds) -> Response | None:
        """Wanted resources that the client does not have. Each waits until what it leads to is there."""
        state = self._kinds[kind]
        if not state.opened:
            return None
        missing = {n: v for n, v in self._of(kind).items() if state.wants(n) and state.sent.get(n) != v}
        news = {name: v for name, v in missing.items() if self._leads_somewhere(ResourceName(kind, name))}
        state.absent -= news.keys()
        state.sent |= news
        if kind is Xds.CLUSTER:
            self._renew(news)
        # Envoy waits 15 s for a first answer to "everything", even when everything is nothing.
        greet = state.wildcard and not state.greeted
        state.greeted = True
        return self._respond(kind, news, ()) if news or greet else None

    def _remove(self, kind: Xds) -> Response | None:
        """What the client has and shall not have any more, and names that it waits for in vain.

        Backends go when no route leads there any more.
        """
        state = self._kinds[kind]
        if not state.opened:
            return None
        if kind in BACKENDS and not all(self._is_done(user, name) for user in HELD_BACK for name in self._of(user)):
            return None
        there = self._of(kind)
        gone = {name for name in state.sent if name not in there}
        vain = {name for name in state.names if name not in there and name not in state.sent} - state.absent
        for name in gone:
            del state.sent[name]
            state.acknowledged.pop(name, None)
        state.absent |= (gone & state.names) | vain
        return self._respond(kind, {}, sorted(gone | vain)) if gone or vain else None

    def _respond(self, kind: Xds, resources: Mapping[str, str], removed: Iterable[str]) -> Response:
        self._count += 1
        response = Response(kind, str(self._count), resources, tuple(removed))
        self._kinds[kind].waiting[response.nonce] = response
        return response
