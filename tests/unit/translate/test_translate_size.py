"""A Route, and the Routes of a port, take a bounded part of Envoy's configuration."""

from msgspec.structs import replace

from agent.ir.plan import Condition
from agent.ir.resources import ResourceType
from agent.model.filters import Filter, Header, HeaderFilter
from agent.model.meta import ObjectMeta
from agent.model.routes import FilteredBackendRef, HTTPPathMatch, HTTPRoute, HTTPRouteMatch, HTTPRouteRule
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.translate.routes.size import MAX_PORT_BYTES, MAX_ROUTE_BYTES, configuration_bytes
from agent.waypoint.encode import encode
from agent.waypoint.xds.render import render
from support.translate import http_route, translator

BACKENDS = (FilteredBackendRef("web", port=80),)


def route(name: str, matches: int, header: int, rules: int = 1, backends: int = 1) -> HTTPRoute:
    """A Route with so many matches in each rule, which sets a header of so many bytes; by backend where there are
    several.
    """
    headers = tuple(Header(f"x-{number}", "v" * 1000) for number in range(header // 1000))
    set_header = (Filter("RequestHeaderModifier", request_header_modifier=HeaderFilter(set=headers)),)
    paths = tuple(HTTPRouteMatch(HTTPPathMatch("PathPrefix", f"/{number}")) for number in range(matches))
    per_backend = tuple(replace(BACKENDS[0], filters=set_header) for _ in range(backends))
    rule = HTTPRouteRule(
        matches=paths,
        filters=set_header if backends == 1 else (),
        backend_refs=BACKENDS if backends == 1 else per_backend,
    )
    found = http_route(*(rule for _ in range(rules)))
    return replace(found, metadata=ObjectMeta(name, "app", generation=1))


def accepted(made: Translator) -> dict[str, Condition]:
    """The condition of each Route."""
    return {
        key.name: parents[0].conditions[0] for item in made.outputs.values() for key, parents in item.statuses.items()
    }


def test_a_route_whose_matches_repeat_large_filters_is_not_accepted() -> None:
    large = route("r", matches=64, header=64_000, rules=2)
    condition = accepted(translator(large))["r"]
    assert (condition.status, condition.reason) == (False, "TooLarge")
    assert f"more than {MAX_ROUTE_BYTES}" in condition.message
    assert not [item for item in translator(large).outputs.values() if item.listeners]


def test_the_oldest_routes_of_a_port_are_served_and_those_beyond_the_limit_are_told() -> None:
    routes = [route(f"r{number}", matches=32, header=16_000) for number in range(12)]
    size = configuration_bytes(routes[0])
    fit = MAX_PORT_BYTES // size
    assert 1 < fit < len(routes)
    made = translator(*routes)
    found = accepted(made)
    names = sorted(found, key=lambda name: int(name[1:]))
    served = sorted(routes, key=lambda item: item.age)[:fit]
    assert {name for name in names if found[name].status} == {item.metadata.name for item in served}
    refused = [condition for condition in found.values() if not condition.status]
    assert {condition.reason for condition in refused} == {"TooLarge"}
    assert all(str(fit * size) in condition.message for condition in refused)


def test_the_estimate_is_what_envoy_gets_within_a_factor_of_two() -> None:
    for found in (
        route("many-matches", matches=64, header=1000),
        route("large-filters", matches=4, header=32_000),
        route("plain", matches=64, header=0),
        route("filters-of-backends", matches=16, header=2000, backends=4),
    ):
        made = translator(found)
        resources = [render(item, Options("here")).resources for item in made.outputs.values()]
        encoded = sum(
            len(encode(name, value).packed.value)
            for item in resources
            for name, value in item.items()
            if name.kind is ResourceType.ROUTE
        )
        assert 0.5 < configuration_bytes(found) / encoded < 2, (found.metadata.name, encoded)
