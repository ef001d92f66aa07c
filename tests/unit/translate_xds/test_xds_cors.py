"""CORS filters as policies, and the routes that they need."""

from typing import Any

import pytest

from agent.model.filters import CORS, Filter
from agent.model.routes import HeaderMatch, HTTPRouteMatch
from agent.translate.xds.cors import cors_routes, origin_regex

BASE = {"name": "r", "match": {"prefix": "/"}}


def policies(match: HTTPRouteMatch, base: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """The routes of a rule with a policy of these fields."""
    found = cors_routes(base, (Filter("CORS", cors=CORS(**fields)),), match)
    return [dict(route) for route in found]


def test_without_the_filter_a_route_is_as_it_was():
    assert list(cors_routes(BASE, (), HTTPRouteMatch())) == [BASE]


@pytest.mark.parametrize(
    ("origin", "regex"),
    [
        ("*", ".*"),
        ("http://*", r"http://(?:[^/:]+|\[[^/\]]+\])(?::80)?"),
        ("https://*:8443", r"https://(?:[^/:]+|\[[^/\]]+\]):8443"),
        ("https://*.a.b", r"https://[^/:]+\.a\.b(?::443)?"),
        ("https://A.b:443", r"https://a\.b(?::443)?"),
        ("http://a:443", "http://a:443"),
    ],
)
def test_origins(origin: str, regex: str):
    assert origin_regex(origin) == regex


def test_a_policy():
    (route,) = policies(
        HTTPRouteMatch(),
        {**BASE, "typed_per_filter_config": {"other": {}}},
        allow_origins=("http://a:1",),
        allow_methods=("GET", "PUT"),
        allow_headers=("x", "y"),
        expose_headers=("z", "*"),
        allow_credentials=True,
        max_age=60,
    )
    assert route["typed_per_filter_config"] == {
        "other": {},
        "cors": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
            "allow_origin_string_match": [{"safe_regex": {"regex": "http://a:1"}}],
            "allow_methods": "GET, PUT",
            "allow_headers": "x, y",
            "expose_headers": "z",
            "max_age": "60",
            "allow_credentials": True,
            "forward_not_matching_preflights": False,
        },
    }


def test_a_rule_for_a_method_answers_preflights_about_it():
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    who = {"name": "who", "string_match": {"exact": "me"}}
    match = HTTPRouteMatch(headers=(HeaderMatch("who", "me"),), method="GET")
    preflight, request = policies(match, {**BASE, "match": {"prefix": "/", "headers": [who, get]}})
    assert request["match"]["headers"] == [who, get]
    assert preflight["match"] == {
        "prefix": "/",
        "headers": [
            who,
            {"name": ":method", "string_match": {"exact": "OPTIONS"}},
            {"name": "origin", "present_match": True},
            {"name": "access-control-request-method", "string_match": {"exact": "GET"}},
        ],
    }


def test_asked_for_no_headers_none_are_allowed_by_name():
    without, asked = policies(HTTPRouteMatch(), BASE, allow_headers=("*",))
    name = "access-control-request-headers"
    assert without["match"]["headers"] == [{"name": name, "present_match": True, "invert_match": True}]
    assert "allow_headers" not in without["typed_per_filter_config"]["cors"]
    assert asked["typed_per_filter_config"]["cors"]["allow_headers"] == "*"
