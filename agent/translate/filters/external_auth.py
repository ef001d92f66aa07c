"""ExternalAuth: a server that decides about each request before a backend gets it (HTTPExternalAuthFilter, GEP-1494).

Envoy's `ext_authz` filter takes most of its settings from the listener, not from the route. The composite filter runs
a filter whose whole configuration comes from the route, so that a Route changes no listener (Envoy 1.40).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

from agent.ir.http import BackendPort, ResolvedFilter
from agent.ir.resources import Json
from agent.model.filters import BackendObjectReference, ExternalAuth, Filter, HTTPAuth
from agent.model.limits import HEADER, Violation, too_many, twice
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.filters.base import Changes, EnvoyRoute, Fact, FilterPlace, HTTPFilter, Part, RequestState
from agent.translate.header_names import CONNECTION, FRAMING, header_name_error

NAME = "external_auth"
MATCHER = "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher"
PER_ROUTE = f"{MATCHER}PerRoute"
COMPOSITE = "type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite"
EXECUTE = "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction"
EXT_AUTHZ = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
GRPC, HTTP = "GRPC", "HTTP"
TIMEOUT = "10s"
"""How long Envoy waits for the server's answer. The API has no field for it."""
NO_SERVER = 500
"""The status of requests when there is no such backend: the filter must not be skipped."""
MAX_BODY = 1024 * 1024
"""Envoy keeps the body in memory until the server has answered."""
MAX_HEADERS = 64
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2}){0,1024}")
# Framing belongs to the request that Envoy forwards, not to the server's answer.
_NOT_MUTABLE = "|".join(map(re.escape, sorted(FRAMING | CONNECTION)))


@dataclass(frozen=True, slots=True)
class Authorizer(ResolvedFilter):
    """The authorization server."""

    backend: BackendPort

    @property
    def backends(self) -> tuple[BackendPort, ...]:
        """That server."""
        return (self.backend,)


class ExternalAuthFilter(HTTPFilter[ExternalAuth]):
    """CORS preflights carry no credentials: Envoy answers them before this filter runs."""

    type = "ExternalAuth"
    places = FilterPlace.HTTP_RULE
    before_backend = True
    fails_closed = True
    chain = (
        {
            "name": NAME,
            "typed_config": {
                "@type": MATCHER,
                "xds_matcher": {},
                "extension_config": {"name": "composite", "typed_config": {"@type": COMPOSITE}},
            },
            "disabled": True,
        },
    )
    messages = (
        "envoy.extensions.common.matching.v3.extension_matcher_pb2",
        "envoy.extensions.filters.http.composite.v3.composite_pb2",
        "envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2",
    )
    facts = (Fact("externalAuth", "authorization", lambda cluster: f"by {cluster}"),)

    def config(self, item: Filter) -> ExternalAuth | None:
        return item.external_auth

    def violations(self, field: str, config: ExternalAuth) -> Iterator[Violation]:
        if config.protocol not in (GRPC, HTTP):
            yield f"{field}.protocol", f"{config.protocol[:80]!a} is neither HTTP nor GRPC"
        for protocol, name, settings in ((GRPC, "grpc", config.grpc), (HTTP, "http", config.http)):
            if config.protocol == protocol and settings is None:
                yield f"{field}.{name}", f"is missing: the protocol is {protocol}"
            elif config.protocol != protocol and settings is not None:
                yield f"{field}.{name}", f"is there, but the protocol is {config.protocol[:80]!a}"
        for name, headers in _header_lists(config):
            yield from too_many(f"{field}.{name}", headers, MAX_HEADERS)
            yield from twice(f"{field}.{name}", headers)
        if config.http is not None and not _PATH.fullmatch(config.http.path):
            yield f"{field}.http.path", f"{config.http.path[:80]!a} is no path"

    def check(self, field: str, config: ExternalAuth) -> Iterator[FieldError]:
        for name, headers in _header_lists(config):
            for position, header in enumerate(headers):
                if not HEADER.fullmatch(header):
                    yield FieldError(UNSUPPORTED, f"{field}.{name}[{position}]", f"{header[:80]!a} is no header name")
        for position, header in enumerate(config.http.allowed_response_headers if config.http else ()):
            reason = header_name_error(header)
            if reason:
                yield FieldError(UNSUPPORTED, f"{field}.http.allowedResponseHeaders[{position}]", reason)
        if config.http is not None and {".", ".."} & set(unquote(config.http.path).split("/")):
            yield FieldError(UNSUPPORTED, f"{field}.http.path", "has a segment `.` or `..`")
        if config.forward_body.max_size > MAX_BODY:
            message = f"{config.forward_body.max_size} is more than the {MAX_BODY} bytes that a waypoint buffers"
            yield FieldError(UNSUPPORTED, f"{field}.forwardBody.maxSize", message)

    def references(self, config: ExternalAuth) -> Iterator[tuple[str, BackendObjectReference]]:
        yield "backendRef", config.backend_ref

    def resolve(self, config: ExternalAuth, backends: Sequence[BackendPort | None]) -> Authorizer | None:
        """gRPC is HTTP/2, whatever the port's appProtocol."""
        backend = backends[0]
        if backend is None:
            return None
        return Authorizer(replace(backend, protocol="h2c") if config.protocol == GRPC else backend)

    def render(self, route: EnvoyRoute, configs: Sequence[ExternalAuth], part: Part) -> Iterable[EnvoyRoute]:
        if not configs:
            return (route,)
        backend = _backend(part)
        if backend is None:
            return (replace(route, action="direct_response", settings={"status": NO_SERVER}),)
        return (route.configured(NAME, _always(_ext_authz(configs[0], backend))),)

    def changes(self, config: ExternalAuth) -> Changes:
        """A gRPC server can set any header, `:path` and `:method` too; an HTTP server those that are copied."""
        if config.http is None:
            return Changes(method=True, path=True, headers=None)
        named = config.http.allowed_response_headers
        return Changes(headers=frozenset(map(str.lower, named)) if named else None)

    def evaluate(self, state: RequestState, configs: Sequence[ExternalAuth], part: Part) -> RequestState:
        """The server's decision is not known; `externalAuth` is its cluster."""
        answered_by_cors = state.status is not None and not state.location
        if not configs or answered_by_cors:
            return state
        backend = _backend(part)
        if backend is None:
            return replace(state, status=NO_SERVER, location="", response=())
        return replace(state, facts={**state.facts, "externalAuth": backend.cluster})


def _header_lists(config: ExternalAuth) -> Iterator[tuple[str, tuple[str, ...]]]:
    if config.grpc is not None:
        yield "grpc.allowedHeaders", config.grpc.allowed_headers
    if config.http is not None:
        yield "http.allowedHeaders", config.http.allowed_headers
        yield "http.allowedResponseHeaders", config.http.allowed_response_headers


def _backend(part: Part) -> BackendPort | None:
    return next((item.backend for item in part.rule.resolved if isinstance(item, Authorizer)), None)


def _always(config: Json) -> Json:
    """The composite filter's settings: run this filter for every request of the route."""
    run = {"@type": EXECUTE, "typed_config": {"name": "ext_authz", "typed_config": config}}
    return {"@type": PER_ROUTE, "xds_matcher": {"on_no_match": {"action": {"name": "run", "typed_config": run}}}}


def _ext_authz(config: ExternalAuth, backend: BackendPort) -> Json:
    """Fails closed: Envoy answers 403 when the server cannot be reached."""
    settings = config.grpc or config.http
    headers = settings.allowed_headers if settings is not None else ()
    size = config.forward_body.max_size
    return {
        "@type": EXT_AUTHZ,
        "transport_api_version": "V3",
        "validate_mutations": True,
        "decoder_header_mutation_rules": {"disallow_expression": {"regex": _NOT_MUTABLE}},
        **({"allowed_headers": _named(headers)} if headers else {}),
        **({"with_request_body": {"max_request_bytes": size}} if size else {}),
        **(_http(config.http, backend) if config.http is not None else _grpc(backend)),
    }


def _grpc(backend: BackendPort) -> Json:
    authority = f"{backend.service}.{backend.namespace}:{backend.port}"
    return {
        "grpc_service": {
            "envoy_grpc": {"cluster_name": backend.cluster, "authority": authority},
            "timeout": TIMEOUT,
        }
    }


def _http(http: HTTPAuth, backend: BackendPort) -> Json:
    """Envoy sends Host, method, path, Content-Length and Authorization in any case."""
    named = http.allowed_response_headers
    copied = _named(named) if named else {"patterns": [{"safe_regex": {"regex": "[^:].*"}}]}
    prefix = "/" + http.path.strip("/") if http.path.strip("/") else ""
    return {
        "http_service": {
            "server_uri": {
                "uri": f"http://{backend.service}.{backend.namespace}:{backend.port}",
                "cluster": backend.cluster,
                "timeout": TIMEOUT,
            },
            **({"path_prefix": prefix} if prefix else {}),
            "authorization_response": {"allowed_upstream_headers": copied},
        }
    }


def _named(headers: Iterable[str]) -> Json:
    return {"patterns": [{"exact": name, "ignore_case": True} for name in headers]}
