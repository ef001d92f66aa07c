"""Filters of HTTPRoutes and GRPCRoutes, and what they refer to (`gateway.networking.k8s.io/v1`).

Fields that weft does not implement are decoded as raw JSON, so that a Route which uses one gets a condition.
"""

import fractions
from typing import Annotated, Any

from msgspec import Meta

from agent.model.core import Port
from agent.model.meta import Value

Raw = Any


class Header(Value, frozen=True):
    """A header to set or to add."""

    name: str
    value: str


class HeaderFilter(Value, frozen=True):
    """Changes to headers: `set` overwrites, `add` appends, `remove` removes."""

    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class PathModifier(Value, frozen=True):
    """A new path: the whole of it, or the matched prefix."""

    type: str
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(Value, frozen=True):
    """A redirect response."""

    scheme: str | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: int = 302


class URLRewrite(Value, frozen=True):
    """A change to the request's host or path on its way to the backend."""

    hostname: str | None = None
    path: PathModifier | None = None


class BackendObjectReference(Value, frozen=True):
    """A reference to a backend, by default to a Service in the Route's namespace."""

    name: str
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: Port | None = None


class Fraction(Value, frozen=True):
    """A share as numerator and denominator."""

    numerator: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    denominator: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 100


class RequestMirror(Value, frozen=True):
    """Copies of requests, all or a share, for another backend, whose responses are discarded."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None

    @property
    def share(self) -> fractions.Fraction:
        """The share of the requests that is mirrored, from 0 to 1."""
        if self.fraction is not None:
            return fractions.Fraction(self.fraction.numerator, self.fraction.denominator)
        return fractions.Fraction(100 if self.percent is None else self.percent, 100)


class CORS(Value, frozen=True):
    """Which origins' scripts may send requests, and which response headers they may read. `max_age` is in seconds."""

    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool | None = None
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Annotated[int, Meta(ge=1, le=2**31 - 1)] = 5


class GRPCAuth(Value, frozen=True):
    """The headers for an authorization server by Envoy's ext_authz protocol; none named: all of them."""

    allowed_headers: tuple[str, ...] = ()


class HTTPAuth(Value, frozen=True):
    """The headers for an authorization server by HTTP, and those of its response for the backend.

    No `allowed_headers`: only those that it always gets. No `allowed_response_headers`: all of them.
    """

    path: str = ""
    allowed_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()


class ForwardBody(Value, frozen=True):
    """How many bytes of a request's body the authorization server gets; 0: none."""

    max_size: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


class ExternalAuth(Value, frozen=True):
    """A server that allows or denies each request (GEP-1494)."""

    protocol: str
    backend_ref: BackendObjectReference
    grpc: GRPCAuth | None = None
    http: HTTPAuth | None = None
    forward_body: ForwardBody = ForwardBody()


class Filter(Value, frozen=True):
    """One filter: `type` names the field that is set."""

    type: str
    request_header_modifier: HeaderFilter | None = None
    response_header_modifier: HeaderFilter | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: URLRewrite | None = None
    request_mirror: RequestMirror | None = None
    cors: CORS | None = None
    external_auth: ExternalAuth | None = None
    extension_ref: Raw = None


# Filter types, the attribute that each of them fills, and its name in JSON.
FILTER_FIELDS = {
    "RequestHeaderModifier": ("request_header_modifier", "requestHeaderModifier"),
    "ResponseHeaderModifier": ("response_header_modifier", "responseHeaderModifier"),
    "RequestRedirect": ("request_redirect", "requestRedirect"),
    "URLRewrite": ("url_rewrite", "urlRewrite"),
    "RequestMirror": ("request_mirror", "requestMirror"),
    "CORS": ("cors", "cors"),
    "ExternalAuth": ("external_auth", "externalAuth"),
    "ExtensionRef": ("extension_ref", "extensionRef"),
}
