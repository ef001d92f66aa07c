"""One delta ADS stream as a state machine: requests and snapshots in, responses out. No input, no output, no clock.

The protocol is Envoy's "incremental xDS" over one aggregated stream. What matters here: a resource is sent when the
client wants it and does not have this version; nothing is sent twice. The client acknowledges or refuses a response as
a whole, by its nonce, and Envoy's error does not say which resources it applied: of refused clusters and listeners it
applies the good ones, of other types none behind the first bad one, and none at all when it cannot read one (1.40). A
refused response is sent again in halves until a refusal is of one resource, so that a bad one never hurts a good one.

At most one response of each type is unanswered. The next one is computed when the answer comes, from what is wanted by
then: a client that does not read costs five responses, not one per change. Envoy answers a response of clusters only
after they are warm (1.40), that is after it has their endpoints. So a type waits for the answer to clusters only by its
`cluster_refs`.
"""

from collections.abc import Collection, Iterable, Mapping

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.messages import Request, Response, Snapshot
from agent.waypoint.subscription import Subscription

BACKENDS = (ResourceType.CLUSTER, ResourceType.ENDPOINT)
# Types that others name: of a filter that is gone Envoy has none for the listener that it had, and closes connections.
NAMED = (*BACKENDS, ResourceType.EXTENSION)
# Types whose resources wait for the backends that they name.
DEFERRED = (ResourceType.LISTENER, ResourceType.ROUTE)
# Types that a type may refer to other than by `cluster_refs`: they are sent before it, also when they wait for an
# answer.
FIRST = {
    kind: tuple(item for item in tuple(ResourceType)[:position] if item not in BACKENDS)
    for position, kind in enumerate(ResourceType)
} | {ResourceType.RUNTIME: ()}
WILDCARD = "*"
# A client that receives a response of this size is busy for a moment only, and gRPC's limit is far away.
RESPONSE_BYTES = 4 * 2**20
# The version of a resource that the client may have in any version.
UNKNOWN = ""


class Stream:
    """One client's stream."""

    def __init__(self) -> None:
        self._types = {kind: Subscription() for kind in ResourceType}
        self._wanted: dict[ResourceType, dict[str, str]] | None = None
        self._cluster_refs: Mapping[ResourceName, Collection[str]] = {}
        self._sizes: Mapping[ResourceName, int] = {}
        self._count = 0
        # Clusters that were sent on this stream: each waits for its endpoints, also where Envoy has had them before.
        self._reset: set[str] = set()
        self.rejected: dict[ResourceName, str] = {}

    def on_snapshot(self, snapshot: Snapshot) -> list[Response]:
        """Replace the wanted resources; returns what to send now. Nothing is sent before the first call."""
        self._cluster_refs = snapshot.cluster_refs
        self._sizes = snapshot.sizes
        self._wanted = {kind: {} for kind in ResourceType}
        for name, version in snapshot.versions.items():
            self._wanted[name.kind][name.name] = version
        for name in [name for name in self.rejected if not self._is_current(name)]:
            del self.rejected[name]
            self._mark_unknown(name)
        return self._difference()

    def on_request(self, request: Request) -> list[Response]:
        """A subscription, an acknowledgement or a refusal; returns what to send now."""
        state = self._types[request.kind]
        if not state.opened:
            self._open(request)
        if state.unanswered is not None and request.nonce == state.unanswered.nonce:
            self._on_answer(state, state.unanswered, request.error)
        self._subscribe(state, request)
        if self._wanted is None:
            return []
        # What was deferred for this type may be sent now.
        sent = [self._send(kind) for kind in ResourceType if kind in (request.kind, ResourceType.ENDPOINT, *DEFERRED)]
        removed = [self._remove(kind) for kind in reversed(ResourceType)]
        return [response for response in (*sent, *removed) if response is not None]

    def retry(self, name: ResourceName) -> list[Response]:
        """Send again what was refused, if it is still wanted: the cause may have passed."""
        state, version = self._types[name.kind], self._of(name.kind).get(name.name)
        unanswered = state.unanswered.resources if state.unanswered else {}
        if (
            name not in self.rejected
            or version is None
            or any(name.name in it for it in (unanswered, *state.to_resend))
        ):
            return []
        state.to_resend.append({name.name: version})
        response = self._send(name.kind)
        return [response] if response is not None else []

    @property
    def acknowledged(self) -> set[ResourceName]:
        """Resources that the client has in the wanted version."""
        return {
            ResourceName(kind, name)
            for kind, versions in (self._wanted or {}).items()
            for name, version in versions.items()
            if self._types[kind].acknowledged.get(name) == version
        }

    @property
    def sent(self) -> set[ResourceName]:
        """Resources that the client has or may have, in any version; removals count once they are answered."""
        return {
            ResourceName(kind, name)
            for kind, state in self._types.items()
            for name in (*state.sent, *(state.unanswered.removed if state.unanswered else ()))
        }

    def resync(self, lacks: Iterable[ResourceName], keeps: Iterable[ResourceName]) -> list[Response]:
        """The client lacks what it acknowledged, or has what it should not; returns what to send."""
        for name in lacks:
            for known in (self._types[name.kind].sent, self._types[name.kind].acknowledged):
                known.pop(name.name, None)
        for name in keeps:
            self._types[name.kind].sent.setdefault(name.name, UNKNOWN)
        return self._difference()

    def _difference(self) -> list[Response]:
        """Updates, then removals."""
        updates = [self._send(kind) for kind in ResourceType]
        removals = [self._remove(kind) for kind in reversed(ResourceType)]
        return [response for response in (*updates, *removals) if response is not None]

    def _is_settled(self, kind: ResourceType, name: str) -> bool:
        """Whether the client has this, or has refused it, or nothing waits for it."""
        version = self._of(kind).get(name)
        resource = ResourceName(kind, name)
        has = version is None or self._types[kind].acknowledged.get(name) == version
        return has or resource in self.rejected or self._is_irrelevant(resource)

    def _has_its_clusters(self, name: ResourceName) -> bool:
        """Whether the client has the clusters that this names, and their endpoints, as far as they are wanted.

        Endpoints count before the client asks for them: it does so a moment after it accepted the cluster, and until it
        has them a route to that cluster is answered 503.
        """
        return all(self._is_settled(kind, cluster) for cluster in self._cluster_refs.get(name, ()) for kind in BACKENDS)

    def _is_irrelevant(self, name: ResourceName) -> bool:
        """Whether nothing waits for this: endpoints whose cluster was refused or is not sent, unwanted route tables."""
        if name.kind is ResourceType.ENDPOINT:
            return (
                name.name not in self._of(ResourceType.CLUSTER)
                or ResourceName(ResourceType.CLUSTER, name.name) in self.rejected
            )
        return not self._types[name.kind].wants(name.name)

    def _is_current(self, name: ResourceName) -> bool:
        """Whether the refused version is still the wanted one."""
        return self._of(name.kind).get(name.name) == self._types[name.kind].sent.get(name.name)

    def _open(self, request: Request) -> None:
        """The first request of a type: all or by name, and what the client has from an earlier stream."""
        state = self._types[request.kind]
        renewed = self._reset if request.kind is ResourceType.ENDPOINT else set()
        known = {name: version for name, version in request.initial.items() if name not in renewed}
        state.opened = True
        state.wildcard = request.kind.owned and not request.subscribe
        state.initial_sent = bool(request.initial)
        state.sent |= known
        state.acknowledged |= known

    def _reset_endpoints(self, clusters: Iterable[str]) -> None:
        """Envoy has a cluster that changed wait for endpoints, and does not ask for them again (1.40). So they are sent
        again, or Envoy would wait 15 s.
        """
        self._reset |= set(clusters)
        for known in (self._types[ResourceType.ENDPOINT].sent, self._types[ResourceType.ENDPOINT].acknowledged):
            for name in clusters:
                known.pop(name, None)

    @staticmethod
    def _subscribe(state: Subscription, request: Request) -> None:
        for name in request.subscribe:
            state.wildcard |= name == WILDCARD
            state.names |= {name} - {WILDCARD}
            # A client that subscribes again to what it was sent has forgotten it.
            if not request.initial:
                state.sent.pop(name, None)
            state.reported_absent.discard(name)
        for name in request.unsubscribe:
            state.wildcard &= name != WILDCARD
            state.names.discard(name)
            for known in (state.sent, state.acknowledged):
                known.pop(name, None)

    def _on_answer(self, state: Subscription, response: Response, error: str) -> None:
        """The answer to the unanswered response. A refused response of several resources is sent again in halves, to
        find the bad one.
        """
        state.unanswered = None
        current = {name: version for name, version in response.resources.items() if state.sent.get(name) == version}
        if error and len(response.resources) > 1:
            names = sorted(current)
            halves = (names[: len(names) // 2], names[len(names) // 2 :])
            state.to_resend.extend({name: current[name] for name in half} for half in halves if half)
            return
        for name, version in current.items():
            resource = ResourceName(response.kind, name)
            if not error:
                state.acknowledged[name] = version
                self.rejected.pop(resource, None)
            elif self._is_current(resource):
                self.rejected[resource] = error
            else:
                self._mark_unknown(resource)

    def _mark_unknown(self, name: ResourceName) -> None:
        """A refused version that is not wanted now may be wanted again: then it is sent like any other."""
        sent = self._types[name.kind].sent
        if name.name in sent:
            sent[name.name] = UNKNOWN

    def _of(self, kind: ResourceType) -> dict[str, str]:
        return (self._wanted or {}).get(kind, {})

    def _send(self, kind: ResourceType) -> Response | None:
        """Wanted resources that the client does not have. Each waits until its clusters are there."""
        state = self._types[kind]
        if not state.opened or state.unanswered is not None or any(self._is_blocked(first) for first in FIRST[kind]):
            return None
        news = self._next_resend(kind) or self._first_part(kind, self._missing(kind))
        state.reported_absent -= news.keys()
        state.sent |= news
        if kind is ResourceType.CLUSTER:
            self._reset_endpoints(news)
        # Envoy waits 15 s for a first response to a wildcard subscription, even when there is no resource.
        initial = state.wildcard and not state.initial_sent
        state.initial_sent = True
        return self._respond(kind, news, ()) if news or initial else None

    def _missing(self, kind: ResourceType) -> dict[str, str]:
        """Wanted resources of a type that the client does not have, and that need not wait for their clusters."""
        state = self._types[kind]
        missing = {n: v for n, v in self._of(kind).items() if state.wants(n) and state.sent.get(n) != v}
        return {name: v for name, v in missing.items() if self._has_its_clusters(ResourceName(kind, name))}

    def _first_part(self, kind: ResourceType, news: dict[str, str]) -> dict[str, str]:
        """As many of these as one response may have, at least one. The rest is missing until the answer comes."""
        part: dict[str, str] = {}
        left = RESPONSE_BYTES
        for name, version in news.items():
            left -= self._sizes.get(ResourceName(kind, name), 0)
            if part and left < 0:
                break
            part[name] = version
        return part

    def _next_resend(self, kind: ResourceType) -> dict[str, str]:
        """The next part of a refused response, without resources that changed or were removed since."""
        state, wanted = self._types[kind], self._of(kind)
        found: dict[str, str] = {}
        while state.to_resend and not found:
            part = {name: v for name, v in state.to_resend.popleft().items() if state.sent.get(name) == v}
            found = {name: v for name, v in part.items() if v == wanted.get(name)}
            for name in part.keys() - found.keys():
                self._mark_unknown(ResourceName(kind, name))
        return found

    def _is_blocked(self, kind: ResourceType) -> bool:
        """Whether something of this type is to be sent, and has to wait for an answer first."""
        state = self._types[kind]
        return state.unanswered is not None and bool(state.to_resend or self._missing(kind))

    def _remove(self, kind: ResourceType) -> Response | None:
        """Resources that the client has and that are not wanted any more, and names that it subscribed to in vain.

        Backends and filters are removed when no route and no listener names them any more.
        """
        state = self._types[kind]
        if not state.opened or state.unanswered is not None:
            return None
        are_named = kind in NAMED and not self._are_users_settled()
        if are_named and kind in BACKENDS:
            return None
        wanted = self._of(kind)
        gone = set() if are_named else {name for name in state.sent if name not in wanted}
        vain = {name for name in state.names if name not in wanted and name not in state.sent} - state.reported_absent
        for name in gone:
            del state.sent[name]
            state.acknowledged.pop(name, None)
        state.reported_absent |= (gone & state.names) | vain
        return self._respond(kind, {}, sorted(gone | vain)) if gone or vain else None

    def _are_users_settled(self) -> bool:
        """Whether the client has every route and listener in the wanted version, as far as it can."""
        return all(self._is_settled(user, name) for user in DEFERRED for name in self._of(user))

    def _respond(self, kind: ResourceType, resources: Mapping[str, str], removed: Iterable[str]) -> Response:
        self._count += 1
        response = Response(kind, str(self._count), resources, tuple(removed))
        self._types[kind].unanswered = response
        return response
