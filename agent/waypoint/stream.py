"""One delta ADS stream as a state machine: requests and snapshots in, responses out. No input, no output, no clock.

The protocol is Envoy's "incremental xDS" over one aggregated stream. What matters here: a resource is sent when the
client wants it and does not have this version; nothing is sent twice. An answer is acknowledged or refused as a whole,
by its nonce, and Envoy's words for a refusal do not tell what of it was applied: it applies the good ones of refused
clusters and listeners, none behind the first bad one of other kinds, none at all when it cannot read one (1.40). What
was refused is sent again in halves until a refusal is of one resource, so that a bad one never hurts a good one.

At most one response of each kind is unanswered. The next one is computed when the answer comes, from what shall be by
then: a client that does not read costs five responses, not one per change. Envoy answers a response of clusters only
after they are warm (1.40), that is after it has their endpoints; so no kind waits for the answer to clusters but by
`leads`.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.messages import Request, Response

BACKENDS = (ResourceType.CLUSTER, ResourceType.ENDPOINT)
# What waits for the backends that it names.
HELD_BACK = (ResourceType.LISTENER, ResourceType.ROUTE)
# What a type may refer to without saying so in `leads`: these are sent before it, also where they wait for an answer.
FIRST = {
    kind: tuple(item for item in tuple(ResourceType)[:position] if item not in BACKENDS)
    for position, kind in enumerate(ResourceType)
}
WILDCARD = "*"
# The version of what the client may have, whatever it is: no resource's.
UNKNOWN = ""


@dataclass(slots=True)
class _Kind:
    """What the client wants of one kind and has, the response that it has not answered, and what of refused responses
    is to be sent again, by itself.
    """

    opened: bool = False
    greeted: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    acknowledged: dict[str, str] = field(default_factory=dict)
    waiting: Response | None = None
    again: deque[Mapping[str, str]] = field(default_factory=deque)
    absent: set[str] = field(default_factory=set)

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names


class Stream:
    """One client's stream."""

    def __init__(self) -> None:
        self._kinds = {kind: _Kind() for kind in ResourceType}
        self._wanted: dict[ResourceType, dict[str, str]] | None = None
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
        self._wanted = {kind: {} for kind in ResourceType}
        for name, version in versions.items():
            self._wanted[name.kind][name.name] = version
        for name in [name for name in self.rejected if not self._is_current(name)]:
            del self.rejected[name]
            self._doubt(name)
        return self._difference()

    def on_request(self, request: Request) -> list[Response]:
        """A subscription, an acknowledgement or a refusal; returns what to send now."""
        state = self._kinds[request.kind]
        if not state.opened:
            self._open(request)
        if state.waiting is not None and request.nonce == state.waiting.nonce:
            self._answered(state, state.waiting, request.error)
        self._subscribe(state, request)
        if self._wanted is None:
            return []
        # What was held back for this kind may go now.
        sent = [self._send(kind) for kind in ResourceType if kind in (request.kind, ResourceType.ENDPOINT, *HELD_BACK)]
        removed = [self._remove(kind) for kind in reversed(ResourceType)]
        return [response for response in (*sent, *removed) if response is not None]

    def retry(self, name: ResourceName) -> list[Response]:
        """Send again what was refused, if it is what shall be still: the reason may have passed."""
        state, version = self._kinds[name.kind], self._of(name.kind).get(name.name)
        unanswered = state.waiting.resources if state.waiting else {}
        if name not in self.rejected or version is None or any(name.name in it for it in (unanswered, *state.again)):
            return []
        state.again.append({name.name: version})
        response = self._send(name.kind)
        return [response] if response is not None else []

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
            if state.waiting
            for name in state.waiting.removed
        )
        return {ResourceName(kind, name) for kind, state in self._kinds.items() for name in state.sent} | {*leaving}

    def mistrust(self, lacks: Iterable[ResourceName], keeps: Iterable[ResourceName]) -> list[Response]:
        """The client does not have what it acknowledged, or has what it should not: returns what mends it."""
        for name in lacks:
            for known in (self._kinds[name.kind].sent, self._kinds[name.kind].acknowledged):
                known.pop(name.name, None)
        for name in keeps:
            self._kinds[name.kind].sent.setdefault(name.name, UNKNOWN)
        return self._difference()

    def _difference(self) -> list[Response]:
        """What is wanted and not there, then what is there and not wanted."""
        updates = [self._send(kind) for kind in ResourceType]
        removals = [self._remove(kind) for kind in reversed(ResourceType)]
        return [response for response in (*updates, *removals) if response is not None]

    def _is_done(self, kind: ResourceType, name: str) -> bool:
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
        if name.kind is ResourceType.ENDPOINT:
            return (
                name.name not in self._of(ResourceType.CLUSTER)
                or ResourceName(ResourceType.CLUSTER, name.name) in self.rejected
            )
        return not self._kinds[name.kind].wants(name.name)

    def _is_current(self, name: ResourceName) -> bool:
        """Whether what was refused is still what shall be."""
        return self._of(name.kind).get(name.name) == self._kinds[name.kind].sent.get(name.name)

    def _open(self, request: Request) -> None:
        """The first request of a kind: all or by name, and what the client has from before."""
        state = self._kinds[request.kind]
        renewed = self._renewed if request.kind is ResourceType.ENDPOINT else set()
        known = {name: version for name, version in request.initial.items() if name not in renewed}
        state.opened = True
        state.wildcard = request.kind.owned and not request.subscribe
        state.greeted = bool(request.initial)
        state.sent |= known
        state.acknowledged |= known

    def _renew(self, clusters: Iterable[str]) -> None:
        """Envoy lets a cluster that changed wait for endpoints, and does not ask for them again (1.40): forget that it
        has them, or it waits 15 s.
        """
        self._renewed |= set(clusters)
        for known in (self._kinds[ResourceType.ENDPOINT].sent, self._kinds[ResourceType.ENDPOINT].acknowledged):
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

    def _answered(self, state: _Kind, response: Response, error: str) -> None:
        """An answer to the response that was waiting. A refusal of several is sent again in halves, to learn which
        resource is bad.
        """
        state.waiting = None
        current = {name: version for name, version in response.resources.items() if state.sent.get(name) == version}
        if error and len(response.resources) > 1:
            names = sorted(current)
            halves = (names[: len(names) // 2], names[len(names) // 2 :])
            state.again.extend({name: current[name] for name in half} for half in halves if half)
            return
        for name, version in current.items():
            resource = ResourceName(response.kind, name)
            if not error:
                state.acknowledged[name] = version
                self.rejected.pop(resource, None)
            elif self._is_current(resource):
                self.rejected[resource] = error
            else:
                self._doubt(resource)

    def _doubt(self, name: ResourceName) -> None:
        """A version that was refused, and that shall not be now, may come back: then it is sent like any other."""
        sent = self._kinds[name.kind].sent
        if name.name in sent:
            sent[name.name] = UNKNOWN

    def _of(self, kind: ResourceType) -> dict[str, str]:
        return (self._wanted or {}).get(kind, {})

    def _send(self, kind: ResourceType) -> Response | None:
        """Wanted resources that the client does not have. Each waits until what it leads to is there."""
        state = self._kinds[kind]
        if not state.opened or state.waiting is not None or any(self._is_behind(first) for first in FIRST[kind]):
            return None
        news = self._take_again(kind) or self._news(kind)
        state.absent -= news.keys()
        state.sent |= news
        if kind is ResourceType.CLUSTER:
            self._renew(news)
        # Envoy waits 15 s for a first answer to "everything", even when everything is nothing.
        greet = state.wildcard and not state.greeted
        state.greeted = True
        return self._respond(kind, news, ()) if news or greet else None

    def _news(self, kind: ResourceType) -> dict[str, str]:
        """Wanted resources of a kind that the client does not have, and that need not wait for what they lead to."""
        state = self._kinds[kind]
        missing = {n: v for n, v in self._of(kind).items() if state.wants(n) and state.sent.get(n) != v}
        return {name: v for name, v in missing.items() if self._leads_somewhere(ResourceName(kind, name))}

    def _take_again(self, kind: ResourceType) -> dict[str, str]:
        """The next part of a refused response, without what has changed or gone since."""
        state, wanted = self._kinds[kind], self._of(kind)
        found: dict[str, str] = {}
        while state.again and not found:
            part = {name: v for name, v in state.again.popleft().items() if state.sent.get(name) == v}
            found = {name: v for name, v in part.items() if v == wanted.get(name)}
            for name in part.keys() - found.keys():
                self._doubt(ResourceName(kind, name))
        return found

    def _is_behind(self, kind: ResourceType) -> bool:
        """Whether something of this kind is to be sent, and has to wait for an answer first."""
        state = self._kinds[kind]
        return state.waiting is not None and bool(state.again or self._news(kind))

    def _remove(self, kind: ResourceType) -> Response | None:
        """What the client has and shall not have any more, and names that it waits for in vain.

        Backends go when no route leads there any more.
        """
        state = self._kinds[kind]
        if not state.opened or state.waiting is not None:
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

    def _respond(self, kind: ResourceType, resources: Mapping[str, str], removed: Iterable[str]) -> Response:
        self._count += 1
        response = Response(kind, str(self._count), resources, tuple(removed))
        self._kinds[kind].waiting = response
        return response
