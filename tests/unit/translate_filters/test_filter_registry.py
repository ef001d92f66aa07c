"""What holds for every type of filter, whichever there are."""

import pytest

from agent.ir.http import HTTPListenerIR, Rule
from agent.model.filters import FILTER_FIELDS, Filter, HeaderFilter
from agent.model.routes import HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, FilterPlace, HTTPFilter, Part
from agent.translate.filters.check import filter_errors
from agent.translate.filters.registry import BY_TYPE, HTTP_FILTERS, rendered, types_of
from agent.translate.options import Options
from agent.waypoint.xds.listener import listener


@pytest.mark.parametrize("item", HTTP_FILTERS, ids=lambda item: item.type)
def test_a_type_reads_its_own_field(item: HTTPFilter[object]) -> None:
    config = HeaderFilter()  # any value: what a field holds is not looked at here
    entry = Filter(item.type, **{FILTER_FIELDS[item.type][0]: config})
    assert list(types_of(entry)) == [(item, config)]


@pytest.mark.parametrize("kind", sorted(FILTER_FIELDS.keys() - BY_TYPE.keys()))
def test_a_type_without_a_module_is_not_implemented(kind: str) -> None:
    entry = Filter(kind, **{FILTER_FIELDS[kind][0]: {}})
    (error,) = filter_errors("filters", (entry,), FilterPlace.HTTP_RULE)
    assert error.message == f"filter {kind!r} is not implemented here"


@pytest.mark.parametrize("item", HTTP_FILTERS, ids=lambda item: item.type)
def test_a_type_has_its_places(item: HTTPFilter[object]) -> None:
    """Where it may not be it is not implemented; where it may, something else can be wrong with it."""
    for place in (FilterPlace.HTTP_RULE, FilterPlace.HTTP_BACKEND, FilterPlace.GRPC_RULE, FilterPlace.GRPC_BACKEND):
        (error,) = filter_errors("filters", (Filter(item.type),), place)
        assert ("is not implemented here" in error.message) is (place not in item.places)


def test_the_chain_is_in_the_registry_s_order() -> None:
    found = listener("app/web:80", HTTPListenerIR("app/web:80", "", 80, False, ()), Options())
    chain = found["filter_chains"][0]["filters"][-1]["typed_config"]["http_filters"]
    names = [item["name"] for item in chain]
    assert len(set(names)) == len(names)
    own = [one["name"] for item in HTTP_FILTERS for one in item.chain]
    assert [name for name in names if name in own] == own
    assert names[-1] == "router"


def test_a_rule_without_filters_is_one_route_as_it_was() -> None:
    route = EnvoyRoute({"prefix": "/"}, "route", {"cluster": "c"})
    assert rendered(route, Part(Rule("r", HTTPRouteMatch()), 80)) == [route]
