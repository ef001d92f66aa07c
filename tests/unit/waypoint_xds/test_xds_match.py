"""Matches of Routes as Envoy's, one feature at a time."""

import pytest

from agent.model.routes import (
    GRPCMethodMatch,
    GRPCRouteMatch,
    HeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
    QueryParamMatch,
)
from agent.waypoint.xds.match import route_match

ANY = {"prefix": "/"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("Exact", "/v2/", {"path": "/v2/"}),
        ("PathPrefix", "/", {"prefix": "/"}),
        ("PathPrefix", "/v2", {"path_separated_prefix": "/v2"}),
        ("PathPrefix", "/v2/", {"path_separated_prefix": "/v2"}),
        ("RegularExpression", "/v[0-9]+", {"safe_regex": {"regex": "/v[0-9]+"}}),
    ],
)
def test_paths(kind: str, value: str, expected: dict[str, object]):
    assert route_match(HTTPRouteMatch(HTTPPathMatch(kind, value))) == expected


def test_headers_method_and_query_must_all_hold():
    match = HTTPRouteMatch(
        headers=(HeaderMatch("x-a", "1"), HeaderMatch("x-b", "[0-9]", "RegularExpression")),
        query_params=(QueryParamMatch("q", "2"), QueryParamMatch("r", ".*", "RegularExpression")),
        method="POST",
    )
    assert route_match(match) == {
        "prefix": "/",
        "headers": [
            {"name": "x-a", "string_match": {"exact": "1"}},
            {"name": "x-b", "string_match": {"safe_regex": {"regex": "[0-9]"}}},
            {"name": ":method", "string_match": {"exact": "POST"}},
        ],
        "query_parameters": [
            {"name": "q", "string_match": {"exact": "2"}},
            {"name": "r", "string_match": {"safe_regex": {"regex": ".*"}}},
        ],
    }


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (None, ANY),
        (GRPCMethodMatch("Exact", "a.B", "Get"), {"path": "/a.B/Get"}),
        (GRPCMethodMatch("Exact", "a.B"), {"prefix": "/a.B/"}),
        (GRPCMethodMatch("Exact", None, "v1.Get"), {"safe_regex": {"regex": r"/[^/]+/v1\.Get"}}),
        (GRPCMethodMatch("RegularExpression", "a|b", "G.*"), {"safe_regex": {"regex": "/(?:a|b)/(?:G.*)"}}),
        (GRPCMethodMatch("RegularExpression", "a|b"), {"safe_regex": {"regex": "/(?:a|b)/(?:[^/]+)"}}),
        (GRPCMethodMatch("RegularExpression", None, "G"), {"safe_regex": {"regex": "/(?:[^/]+)/(?:G)"}}),
    ],
)
def test_grpc_methods(method: GRPCMethodMatch | None, expected: dict[str, object]):
    assert route_match(GRPCRouteMatch(method)) == expected


def test_grpc_metadata_are_headers():
    assert route_match(GRPCRouteMatch(None, (HeaderMatch("x-a", "1"),))) == {
        "prefix": "/",
        "headers": [{"name": "x-a", "string_match": {"exact": "1"}}],
    }
