"""Precedence: one order for all matches, whatever order they are written in."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model.meta import ObjectMeta
from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRoute,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.translate.routes.precedence import grpc_specificity, http_specificity

TEXT = st.text("ab", min_size=1, max_size=3)
HEADERS = st.lists(st.builds(HeaderMatch, TEXT, TEXT), max_size=2).map(tuple)
PATHS = st.builds(HTTPPathMatch, st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]), TEXT.map("/{}".format))
HTTP = st.builds(
    HTTPRouteMatch,
    PATHS,
    HEADERS,
    st.lists(st.builds(QueryParamMatch, TEXT, TEXT), max_size=2).map(tuple),
    st.sampled_from([None, "GET"]),
)
NAME = st.one_of(st.none(), TEXT)
METHODS = st.builds(GRPCMethodMatch, st.sampled_from(["Exact", "RegularExpression"]), NAME, NAME)
GRPC = st.builds(GRPCRouteMatch, st.one_of(st.none(), METHODS), HEADERS)
STAMPS = st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


def http_claims(match: HTTPRouteMatch) -> tuple[object, ...]:
    """What the API compares, one after the other; greater is more specific. Regular expressions are its open point."""
    exact, regular = match.path.type == "Exact", match.path.type == "RegularExpression"
    counts = (len(match.headers), len(match.query_params))
    return (exact, regular, len(match.path.value.rstrip("/")), match.method is not None, *counts)


@given(HTTP, HTTP)
def test_http_matches_are_ordered_as_the_api_says(one: HTTPRouteMatch, two: HTTPRouteMatch) -> None:
    assert (http_specificity(one) < http_specificity(two)) == (http_claims(one) > http_claims(two))


@given(GRPC, GRPC)
def test_the_longest_service_then_the_longest_method(one: GRPCRouteMatch, two: GRPCRouteMatch) -> None:
    lengths = [
        (len(m.method.service or ""), len(m.method.method or ""), len(m.headers))
        if m.method
        else (0, 0, len(m.headers))
        for m in (one, two)
    ]
    if lengths[0] > lengths[1]:
        assert grpc_specificity(one) < grpc_specificity(two)


@given(st.lists(st.tuples(TEXT, TEXT, STAMPS), unique_by=lambda item: item[:2], min_size=2))
def test_age_is_a_total_order(names: list[tuple[str, str, str]]) -> None:
    routes = [HTTPRoute(ObjectMeta(name, space, creation_timestamp=stamp)) for name, space, stamp in names]
    assert len({route.age for route in routes}) == len(routes)
    dated = [bool(route.metadata.creation_timestamp) for route in sorted(routes, key=lambda route: route.age)]
    assert dated == sorted(dated, reverse=True)
