"""One delta ADS stream as a state machine: requests and snapshots in, responses out. No input, no output, no clock.

The protocol is Envoy's "incremental xDS" over one aggregated stream. What matters here: a resource is sent when the
client wants it and does not have this version; an answer is acknowledged or refused as a whole, by its nonce, but Envoy
applies what was good in a refused one, and says which were bad by name; nothing is sent twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.plan.plan import ResourceName, Xds

# Makes before breaks: what others refer to comes first and goes last.
SEND_ORDER = (Xds.CLUSTER, Xds.ENDPOINT, Xds.EXTENSION, Xds.LISTENER, Xds.ROUTE)
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
        self._wanted: Mapping[ResourceName, str] | None = None
        self._count = 0
        self.rejected: dict[ResourceName, str] = {}

    def on_snapshot(self, versions: Mapping[ResourceName, str]) -> list[Response]:
        """Everything that shall be, by version; returns what to send now. Before the first one nothing is said."""
        self._wanted = versions
        self.rejected = {name: text for name, text in self.rejected.items() if self._is_current(name)}
        updates = [self._send(kind) for kind in SEND_ORDER]
        removals = [self._remove(kind) for kind in reversed(SEND_ORDER)]
        return [response for response in (*updates, *removals) if response is not None]

    def on_request(self, request: Request) -> list[Response]:
        """A subscription, an acknowledgement or a refusal; returns what to send now."""
        state = self._kinds[request.kind]
        if not state.opened:
            state.opened = True
            state.wildcard = request.kind in WILDCARD_KINDS and not request.subscribe
            state.sent |= request.initial
            state.acknowledged |= request.initial
        if request.nonce:
            self._answered(request.kind, request.nonce, request.error)
        self._subscribe(state, request)
        if self._wanted is None:
            return []
        responses = (self._send(request.kind), self._remove(request.kind))
        return [response for response in responses if response is not None]

    @property
    def acknowledged(self) -> set[ResourceName]:
        """Resources that the client has in the version that they shall have."""
        return {
            name
            for name, version in (self._wanted or {}).items()
            if self._kinds[name.kind].acknowledged.get(name.name) == version
        }

    def _is_current(self, name: ResourceName) -> bool:
        """Whether what was refused is still what shall be."""
        return (self._wanted or {}).get(name) == self._kinds[name.kind].sent.get(name.name)

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

    def _answered(self, kind: Xds, nonce: str, error: str) -> None:
        """An answer to a response. Of a refused one those resources are bad that the error names; all if none is."""
        state = self._kinds[kind]
        response = state.waiting.pop(nonce, None)
        if response is None:
            return
        named = {name for name in response.resources if name in error}
        bad = (named or set(response.resources)) if error else set()
        for name, version in response.resources.items():
            if name in bad:
                self.rejected[ResourceName(kind, name)] = error
            elif state.sent.get(name) == version:
                state.acknowledged[name] = version
                self.rejected.pop(ResourceName(kind, name), None)

    def _of(self, kind: Xds) -> dict[str, str]:
        return {name.name: version for name, version in (self._wanted or {}).items() if name.kind is kind}

    def _send(self, kind: Xds) -> Response | None:
        """Wanted resources that the client does not have."""
        state = self._kinds[kind]
        if not state.opened:
            return None
        there = self._of(kind)
        news = {name: v for name, v in there.items() if state.wants(name) and state.sent.get(name) != v}
        state.absent -= news.keys()
        state.sent |= news
        # Envoy waits 15 s for a first answer to "everything", even when everything is nothing.
        greet = state.wildcard and not state.greeted
        state.greeted = True
        return self._respond(kind, news, ()) if news or greet else None

    def _remove(self, kind: Xds) -> Response | None:
        """What the client has and shall not have any more, and names that it waits for in vain."""
        state = self._kinds[kind]
        if not state.opened:
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
