"""How much of Envoy's configuration a Route takes, and may take.

The amount is an estimate from the Route alone, so that every node and the controller say the same of it.
"""

from collections.abc import Iterator

from msgspec.structs import astuple

from agent.model.meta import Value
from agent.model.routes import AnyRoute, GRPCRouteRule, HTTPRouteRule, L4RouteRule
from agent.translate.field_errors import TOO_LARGE, FieldError

MAX_ROUTE_BYTES = 2**20
# All Routes of a namespace on one port: they are one resource of Envoy's.
MAX_PORT_BYTES = 4 * 2**20
# What a route has beside texts of its author.
_ROUTE_BYTES, _FIELD_BYTES = 180, 8


def size_errors(size: int) -> Iterator[FieldError]:
    """The error of a Route with so many bytes that is too large by itself."""
    if size > MAX_ROUTE_BYTES:
        message = f"take about {size} bytes of Envoy's configuration, more than {MAX_ROUTE_BYTES}"
        yield FieldError(TOO_LARGE, "spec.rules", f"{message}: each match repeats the filters of its rule")


def configuration_bytes(route: AnyRoute) -> int:
    """The bytes of a Route's part of a route table. TCPRoutes, UDPRoutes and TLSRoutes have no part in one."""
    return sum(map(_rule_bytes, route.spec.rules))


def _rule_bytes(rule: HTTPRouteRule | GRPCRouteRule | L4RouteRule) -> int:
    """Envoy has a route for each match, and where backendRefs have filters for each match and backend."""
    if isinstance(rule, L4RouteRule):
        return 0
    per_backend = any(item.filters for item in rule.backend_refs)
    routes = len(rule.backend_refs) if per_backend else 1
    actions = routes * (_text_bytes(rule.filters) + _ROUTE_BYTES) + _text_bytes(rule.backend_refs)
    return sum(actions + routes * _text_bytes(match) for match in rule.matches or ("",))


def _text_bytes(value: object) -> int:
    """The bytes of all texts in a value, and a few for each, since Envoy names their fields."""
    if isinstance(value, str):
        return len(value.encode()) + _FIELD_BYTES if value else 0
    if isinstance(value, Value):
        return _text_bytes(astuple(value))
    return sum(map(_text_bytes, value)) if isinstance(value, tuple) else 0
