"""Rules of the API server's schemas that types cannot express. They make a directory of manifests as strict as a
server.

Only what a server certainly rejects belongs here. What a server stores but a mesh cannot use is handled by `translate`,
which sets a condition.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any

from agent.kube.parameters_schema import parameters_violations
from agent.kube.policy_schema import policy_violations
from agent.model.authorization import AuthorizationPolicy
from agent.model.core import Pod, Service, ServiceCIDR
from agent.model.discovery import EndpointSlice
from agent.model.limits import HEADER, MAX_LIST, NAME, Violation, too_many, twice
from agent.model.meta import Object, ObjectMeta
from agent.model.multicluster import AnyService, ServiceImport
from agent.model.parameters import MeshParameters
from agent.model.routes import (
    CookieConfig,
    FilteredBackendRef,
    GRPCRoute,
    GRPCRouteRule,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    HTTPRouteRule,
    SessionPersistence,
    TCPRoute,
    TLSRoute,
    UDPRoute,
)
from agent.translate.filters.check import filter_violations

MAX_RULES = 16
MAX_MATCHES = {"HTTPRoute": (64, 128), "GRPCRoute": (64, 128)}
MAX_PARENTS = 32
# An absolute path that no server reads as another one: no empty, `.` or `..` segments, no encoded slash.
PATH = re.compile(r"(?!.*(?://|/\.\.?(?:/|$)|%2[fF]))/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
MAX_SERVER_NAMES = 1024
_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
SERVER_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")


def violation(value: Object) -> Violation | None:
    """The first schema rule that an object breaks, as (field, message)."""
    return next(_violations(value), None)


def _violations(value: Object) -> Iterator[Violation]:
    yield from _metadata(value.metadata)
    match value:
        case Service():
            yield from _addresses("spec.clusterIPs", value.cluster_ips)
            yield from _service_ports(value)
        case ServiceImport():
            if value.spec.type not in ("ClusterSetIP", "Headless"):
                yield "spec.type", f"{value.spec.type[:80]!a} is neither ClusterSetIP nor Headless"
            yield from _addresses("spec.ips", value.spec.ips)
            yield from _service_ports(value)
        case EndpointSlice():
            yield from _slice(value)
        case Pod():
            yield from _addresses("status.podIPs", value.addresses)
        case AuthorizationPolicy() | MeshParameters():
            yield from _of_weft(value)
        case ServiceCIDR():
            yield from _cidrs(value.spec.cidrs)
        case HTTPRoute() | GRPCRoute():
            yield from _parents(value.spec.parent_refs)
            yield from _http_rules(value)
        case TCPRoute() | UDPRoute() | TLSRoute():
            yield from _parents(value.spec.parent_refs)
            yield from _l4_rules(value)
            yield from _server_names(value)


def _of_weft(value: AuthorizationPolicy | MeshParameters) -> Iterator[Violation]:
    if isinstance(value, MeshParameters):
        return parameters_violations(value)
    return policy_violations(value)


def _metadata(meta: ObjectMeta) -> Iterator[Violation]:
    if not NAME.fullmatch(meta.name):
        yield "metadata.name", f"{meta.name[:80]!a} is not a DNS name"
    if meta.namespace and (not NAME.fullmatch(meta.namespace) or "." in meta.namespace):
        yield "metadata.namespace", f"{meta.namespace[:80]!a} is not a DNS label"


def _server_names(value: TCPRoute | UDPRoute | TLSRoute) -> Iterator[Violation]:
    """Names of TLS servers (RFC 6066 allows no addresses). In older versions of the kind the list may be absent."""
    names = value.spec.hostnames if isinstance(value, TLSRoute) else ()
    yield from too_many("spec.hostnames", names, MAX_SERVER_NAMES)
    for position, name in enumerate(names):
        if not SERVER_NAME.fullmatch(name) or len(name) > 253 or _ADDRESS.fullmatch(name):
            yield f"spec.hostnames[{position}]", f"{name[:80]!a} is not a host name"


def _addresses(field: str, addresses: Iterable[str], version: int | None = None) -> Iterator[Violation]:
    for position, address in enumerate(addresses):
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            parsed = None
        # Python takes a zone (`fe80::1%eth0`), a server does not.
        if parsed is None or "%" in address:
            yield f"{field}[{position}]", f"{address[:80]!a} is not an IP address"
            continue
        if version is not None and parsed.version != version:
            yield f"{field}[{position}]", f"{address} is not an IPv{version} address"


def _cidrs(cidrs: tuple[str, ...]) -> Iterator[Violation]:
    if not 1 <= len(cidrs) <= 2:
        yield "spec.cidrs", f"{len(cidrs)} ranges; one or two are allowed"
    for position, cidr in enumerate(cidrs):
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            yield f"spec.cidrs[{position}]", f"{cidr[:80]!a} is not a range of addresses"


def _service_ports(value: AnyService) -> Iterator[Violation]:
    ports = value.spec.ports
    seen: set[tuple[int, str]] = set()
    names: set[str] = set()
    for position, port in enumerate(ports):
        if (port.port, port.protocol) in seen:
            yield f"spec.ports[{position}]", f"port {port.port}/{port.protocol} is there twice"
        if len(ports) > 1 and (not port.name or port.name in names):
            yield f"spec.ports[{position}].name", "is missing" if not port.name else f"{port.name!r} is there twice"
        seen.add((port.port, port.protocol))
        names.add(port.name)


def _slice(value: EndpointSlice) -> Iterator[Violation]:
    version = {"IPv4": 4, "IPv6": 6}.get(value.address_type)
    if version is None and value.address_type != "FQDN":
        yield "addressType", f"{value.address_type[:80]!a} is none of IPv4, IPv6, FQDN"
        return
    if len(value.endpoints) > 1000:
        yield "endpoints", f"{len(value.endpoints)} are more than 1000"
    for position, endpoint in enumerate(value.endpoints):
        if not endpoint.addresses:
            yield f"endpoints[{position}].addresses", "is empty"
        if version is not None:
            yield from _addresses(f"endpoints[{position}].addresses", endpoint.addresses, version)


def _parents(parents: tuple[Any, ...]) -> Iterator[Violation]:
    if len(parents) > MAX_PARENTS:
        yield "spec.parentRefs", f"{len(parents)} are more than {MAX_PARENTS}"
    seen = set()
    for position, parent in enumerate(parents):
        if parent in seen:
            yield f"spec.parentRefs[{position}]", "is there twice"
        seen.add(parent)


def _http_rules(value: HTTPRoute | GRPCRoute) -> Iterator[Violation]:
    yield from too_many("spec.hostnames", value.spec.hostnames, MAX_LIST)
    yield from too_many("spec.rules", value.spec.rules, MAX_RULES)
    per_rule, in_all = MAX_MATCHES[type(value).__name__]
    rules: tuple[HTTPRouteRule | GRPCRouteRule, ...] = value.spec.rules
    total = sum(len(rule.matches) for rule in rules)
    if total > in_all:
        yield "spec.rules", f"{total} matches are more than {in_all}"
    for position, rule in enumerate(rules):
        field = f"spec.rules[{position}]"
        yield from too_many(f"{field}.matches", rule.matches, per_rule)
        yield from too_many(f"{field}.backendRefs", rule.backend_refs, MAX_LIST)
        yield from filter_violations(f"{field}.filters", rule.filters)
        if rule.name and not NAME.fullmatch(rule.name):
            yield f"{field}.name", f"{rule.name[:80]!a} is not a DNS name"
        yield from _retry_codes(f"{field}.retry.codes", rule)
        yield from _session(f"{field}.sessionPersistence", rule.session_persistence)
        for number, match in enumerate(rule.matches):
            yield from _match(f"{field}.matches[{number}]", match)
        for number, backend in enumerate(rule.backend_refs):
            yield from _backend(f"{field}.backendRefs[{number}]", backend)


def _match(field: str, match: Any) -> Iterator[Violation]:
    for kind in ("headers", "query_params"):
        name = {"headers": "headers", "query_params": "queryParams"}[kind]
        items = getattr(match, kind, ())
        yield from too_many(f"{field}.{name}", items, MAX_LIST)
        for position, item in enumerate(items):
            if not HEADER.fullmatch(item.name):
                yield f"{field}.{name}[{position}].name", f"{item.name[:80]!a} is not a header name"
    if isinstance(match, HTTPRouteMatch):
        yield from _path(f"{field}.path.value", match.path)


def _path(field: str, path: HTTPPathMatch) -> Iterator[Violation]:
    value = path.value
    if len(value) > 1024:
        yield field, f"{len(value)} characters are more than 1024"
    if path.type not in ("Exact", "PathPrefix"):
        return
    if not PATH.fullmatch(value):
        yield field, f"{value[:80]!a} is not an absolute and plain path"


def _retry_codes(field: str, rule: HTTPRouteRule | GRPCRouteRule) -> Iterator[Violation]:
    if isinstance(rule, HTTPRouteRule) and rule.retry is not None:
        yield from twice(field, rule.retry.codes)


def _session(field: str, session: SessionPersistence | None) -> Iterator[Violation]:
    if session is None:
        return
    if session.type not in ("Cookie", "Header"):
        yield f"{field}.type", f"{session.type[:80]!a} is neither Cookie nor Header"
    if len(session.session_name or "") > 128:
        yield f"{field}.sessionName", f"{len(session.session_name or '')} characters are more than 128"
    if session.header is not None and session.type != "Header":
        yield f"{field}.header", "is for the type Header only"
    for name, cookie in (("cookieConfig", session.cookie_config), ("cookie", session.cookie)):
        if cookie is not None:
            yield from _cookie(f"{field}.{name}", cookie, session)
    if session.header is not None and not HEADER.fullmatch(session.header.name):
        yield f"{field}.header.name", f"{session.header.name[:80]!a} is not a header name"


def _cookie(field: str, cookie: CookieConfig, session: SessionPersistence) -> Iterator[Violation]:
    if session.type != "Cookie":
        yield field, "is for the type Cookie only"
    if cookie.lifetime_type not in ("Session", "Permanent"):
        yield f"{field}.lifetimeType", f"{cookie.lifetime_type[:80]!a} is neither Session nor Permanent"
    if cookie.lifetime_type == "Permanent" and session.absolute_timeout is None:
        yield f"{field.rpartition('.')[0]}.absoluteTimeout", "is missing: a permanent cookie has an end"
    if cookie.name is not None and not HEADER.fullmatch(cookie.name):
        yield f"{field}.name", f"{cookie.name[:80]!a} is not a cookie name"
    if len(cookie.path or "") > 1024:
        yield f"{field}.path", f"{len(cookie.path or '')} characters are more than 1024"


def _backend(field: str, backend: FilteredBackendRef) -> Iterator[Violation]:
    yield from filter_violations(f"{field}.filters", backend.filters)


def _l4_rules(value: TCPRoute | UDPRoute | TLSRoute) -> Iterator[Violation]:
    rules = value.spec.rules
    if len(rules) != 1:
        yield "spec.rules", f"{len(rules)} rules, exactly one is allowed"
    for position, rule in enumerate(rules):
        if not rule.backend_refs:
            yield f"spec.rules[{position}].backendRefs", "is empty"
        yield from too_many(f"spec.rules[{position}].backendRefs", rule.backend_refs, MAX_LIST)
