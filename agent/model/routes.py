"""Kinds of the Gateway API (`gateway.networking.k8s.io/v1`), as far as a mesh reads them."""

from typing import Annotated

from msgspec import Meta

from agent.model.core import Port
from agent.model.filters import BackendObjectReference, Filter
from agent.model.meta import Key, Object, Value

UNDECODABLE = "Undecodable"
Weight = Annotated[int, Meta(ge=0, le=1_000_000)]


class ParentReference(Value, frozen=True):
    """What a Route attaches to. The schema's default group is the Gateway API's own: a Service needs `group: ""`."""

    name: str
    group: str = "gateway.networking.k8s.io"
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: Port | None = None


class Route(Object, frozen=True):
    """Base of the five route kinds."""


class HeaderMatch(Value, frozen=True):
    """A header that a request must have, by value or regular expression."""

    name: str
    value: str = ""
    type: str = "Exact"


class HTTPPathMatch(Value, frozen=True):
    """The request path without its query."""

    type: str = "PathPrefix"
    value: str = "/"


class QueryParamMatch(Value, frozen=True):
    """A query parameter that a request must have; its first value counts."""

    name: str
    value: str
    type: str = "Exact"


class HTTPRouteMatch(Value, frozen=True):
    """Conditions that must all hold."""

    path: HTTPPathMatch = HTTPPathMatch()
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryParamMatch, ...] = ()
    method: str | None = None


class BackendRef(BackendObjectReference, frozen=True):
    """A weighted backend."""

    weight: Weight = 1


class FilteredBackendRef(BackendRef, frozen=True):
    """A backend with filters (HTTP and gRPC)."""

    filters: tuple[Filter, ...] = ()


class HTTPRouteTimeouts(Value, frozen=True):
    """Durations as GEP-2257 writes them: `10s`, `1m30s`, `0s` for none."""

    request: str | None = None
    backend_request: str | None = None


class HTTPRouteRetry(Value, frozen=True):
    """Which requests are retried, how often and with what backoff (GEP-1731).

    The schema of v1.6 requires at least one attempt; that of v1.7 takes 0 for no retries.
    """

    codes: tuple[Annotated[int, Meta(ge=400, le=599)], ...] = ()
    attempts: Annotated[int, Meta(ge=0)] | None = None
    backoff: str | None = None


class CookieConfig(Value, frozen=True):
    """A session's cookie: its lifetime (`Session`: that of the browser's session, or `Permanent`); since v1.7 also its
    name and path.
    """

    lifetime_type: str = "Session"
    name: str | None = None
    path: str | None = None


class HeaderConfig(Value, frozen=True):
    """A session's header, since v1.7."""

    name: str


class SessionPersistence(Value, frozen=True):
    """Requests of one session go to one endpoint (GEP-1619).

    It has two forms: `cookie` and `header` since v1.7, `session_name` and `cookie_config` up to v1.6. `idle_timeout`
    was in the API before v1.5.
    """

    session_name: str | None = None
    absolute_timeout: str | None = None
    idle_timeout: str | None = None
    type: str = "Cookie"
    cookie_config: CookieConfig | None = None
    cookie: CookieConfig | None = None
    header: HeaderConfig | None = None

    @property
    def name(self) -> str | None:
        """The cookie's or header's name; None leaves it to the implementation."""
        if self.header is not None:
            return self.header.name
        return self.cookie.name if self.cookie is not None else self.session_name

    @property
    def name_field(self) -> str:
        """The field with the name."""
        if self.header is not None:
            return "header.name"
        return "cookie.name" if self.cookie is not None else "sessionName"

    @property
    def path(self) -> str | None:
        """The cookie's path: `/` by default since v1.7. The older form has none: then it is what the rule matches."""
        if self.cookie is None:
            return None
        return "/" if self.cookie.path is None else self.cookie.path


class HTTPRouteRule(Value, frozen=True):
    """Matches, of which any one suffices, and what happens then."""

    name: str = ""
    matches: tuple[HTTPRouteMatch, ...] = (HTTPRouteMatch(),)
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[FilteredBackendRef, ...] = ()
    timeouts: HTTPRouteTimeouts = HTTPRouteTimeouts()
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRouteSpec(Value, frozen=True):
    """An HTTPRoute's spec. No rules means the schema's default: one rule that matches everything."""

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = (HTTPRouteRule(),)


class HTTPRoute(Route, frozen=True):
    """Routing of HTTP requests."""

    spec: HTTPRouteSpec = HTTPRouteSpec()


class GRPCMethodMatch(Value, frozen=True):
    """A gRPC service and method; either may be absent."""

    type: str = "Exact"
    service: str | None = None
    method: str | None = None


class GRPCRouteMatch(Value, frozen=True):
    """Conditions that must all hold."""

    method: GRPCMethodMatch | None = None
    headers: tuple[HeaderMatch, ...] = ()


class GRPCRouteRule(Value, frozen=True):
    """Matches, of which any one suffices, and what happens then."""

    name: str = ""
    matches: tuple[GRPCRouteMatch, ...] = ()
    filters: tuple[Filter, ...] = ()
    backend_refs: tuple[FilteredBackendRef, ...] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRouteSpec(Value, frozen=True):
    """A GRPCRoute's spec."""

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[GRPCRouteRule, ...] = ()


class GRPCRoute(Route, frozen=True):
    """Routing of gRPC calls."""

    spec: GRPCRouteSpec = GRPCRouteSpec()


class L4RouteRule(Value, frozen=True):
    """The one rule of a TCPRoute, UDPRoute or TLSRoute: weighted backends."""

    backend_refs: tuple[BackendRef, ...]
    name: str = ""


class L4RouteSpec(Value, frozen=True):
    """A TCPRoute's or UDPRoute's spec."""

    parent_refs: tuple[ParentReference, ...] = ()
    rules: tuple[L4RouteRule, ...] = ()


class TCPRoute(Route, frozen=True):
    """Weighted TCP connections."""

    spec: L4RouteSpec = L4RouteSpec()


class UDPRoute(Route, frozen=True):
    """Weighted UDP flows."""

    spec: L4RouteSpec = L4RouteSpec()


class TLSRouteSpec(Value, frozen=True):
    """A TLSRoute's spec."""

    parent_refs: tuple[ParentReference, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[L4RouteRule, ...] = ()


class TLSRoute(Route, frozen=True):
    """TLS connections by server name."""

    spec: TLSRouteSpec = TLSRouteSpec()


class UndecodableRoute(Value, frozen=True):
    """A fact about a Route: its newest generation could not be decoded. Its status reports that.

    `parent_refs` is None where they could not be decoded either.
    """

    route: Key
    generation: int
    parent_refs: tuple[ParentReference, ...] | None
    field: str
    message: str

    @property
    def key(self) -> Key:
        """The fact's identity; see `subject`."""
        return undecodable(self.route)


def undecodable(route: Key) -> Key:
    """The key of the fact that a Route could not be decoded."""
    return route._replace(kind=f"{UNDECODABLE}{route.kind}")


def subject(key: Key) -> Key:
    """The key of the object: for that fact the Route's, for all else the key itself."""
    return key._replace(kind=key.kind.removeprefix(UNDECODABLE))


AnyRoute = HTTPRoute | GRPCRoute | TLSRoute | TCPRoute | UDPRoute
