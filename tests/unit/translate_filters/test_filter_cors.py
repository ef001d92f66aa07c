"""CORS filters as policies, and the routes that they need."""

from typing import Any

import pytest

from agent.ir.http import Rule
from agent.model.filters import CORS, Filter
from agent.model.routes import HeaderMatch, HTTPRouteMatch
from agent.translate.filters.base import EnvoyRoute, Part
from agent.translate.filters.cors import origin_regex
from agent.translate.filters.registry import rendered

BASE = EnvoyRoute({"prefix": "/"}, "route", {"cluster": "c"})


def policies(match: HTTPRouteMatch, base: EnvoyRoute, **fields: Any) -> list[EnvoyRoute]:
    """The routes of a rule with a policy of these fields."""
    return rendered(base, Part(Rule("r", match, (Filter("CORS", cors=CORS(**fields)),)), 80))


def test_without_the_filter_a_route_is_as_it_was():
    assert rendered(BASE, Part(Rule("r", HTTPRouteMatch()), 80)) == [BASE]


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
        BASE.configured("other", {}),
        allow_origins=("http://a:1",),
        allow_methods=("GET", "PUT"),
        allow_headers=("x", "y"),
        expose_headers=("z", "*"),
        allow_credentials=True,
        max_age=60,
    )
    assert route.configs == {
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
    preflight, request = policies(match, BASE.matching(who, get))
    assert request.match["headers"] == [who, get]
    assert preflight.match == {
        "prefix": "/",
        "headers": [
            who,
            {"name": ":method", "string_match": {"exact": "OPTIONS"}},
            {"name": "origin", "present_match": True},
            {"name": "access-control-request-method", "string_match": {"exact": "GET"}},
        ],
    }


def test_asked_for_no_headers_none_are_allowed_by_name():
    without, requested = policies(HTTPRouteMatch(), BASE, allow_headers=("*",))
    name = "access-control-request-headers"
    assert without.match["headers"] == [{"name": name, "present_match": True, "invert_match": True}]
    assert "allow_headers" not in without.configs["cors"]
    assert requested.configs["cors"]["allow_headers"] == "*"
