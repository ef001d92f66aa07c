"""Requests from other origins; what Envoy does was seen in tests/node/test_waypoint_simulated.py."""

import pytest

from agent.explain.answer import Answer, answer
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.request import request
from agent.model.filters import CORS, Filter
from agent.model.routes import HTTPPathMatch, HTTPRouteMatch

WEB = (WeightedBackend(BackendPort("app", "web", 80), 1),)
INVALID = (WeightedBackend(None, 1),)
ALLOWED = "originAllowed"
HERE = CORS(allow_origins=("http://here",))


def simulated(method: str, *rules: Rule, origin: str = "http://here", about: str = "") -> Answer:
    headers = [("Origin", origin), *([("Access-Control-Request-Method", about)] if about else [])]
    return answer(HTTPListenerIR("app/web:80", "", 80, False, rules), request(method, "web", "/", headers))


def rule(
    name: str, backends: tuple[WeightedBackend, ...] = WEB, method: str | None = None, cors: CORS | None = HERE
) -> Rule:
    filters = (Filter("CORS", cors=cors),) if cors else ()
    return Rule(name, HTTPRouteMatch(HTTPPathMatch(), method=method), filters, backends)


@pytest.mark.parametrize(
    ("origin", "allowed"), [("http://here", True), ("http://here:80", True), ("https://here", False)]
)
def test_a_preflight_is_answered_by_the_waypoint(origin: str, allowed: bool) -> None:
    found = simulated("OPTIONS", rule("r"), origin=origin, about="PUT")
    assert (found.status, found.facts.get(ALLOWED), found.shares) == (200, allowed, ())


@pytest.mark.parametrize(("method", "about"), [("OPTIONS", ""), ("GET", ""), ("GET", "PUT")])
def test_what_is_no_preflight_goes_on(method: str, about: str) -> None:
    found = simulated(method, rule("r"), about=about)
    assert (found.status, found.facts.get(ALLOWED), len(found.shares)) == (None, True, 1)


def test_a_preflight_belongs_to_the_rule_for_the_method_that_it_asks_about() -> None:
    rules = (rule("get", method="GET"), rule("put", method="PUT"), rule("rest", cors=None))
    names = {about: simulated("OPTIONS", *rules, about=about) for about in ("GET", "PUT", "POST", "")}
    assert {about: found.rule.name if found.rule else "" for about, found in names.items()} == {
        "GET": "get",
        "PUT": "put",
        "POST": "rest",
        "": "rest",
    }
    assert names["POST"].facts == {}


def test_a_rule_for_a_method_without_the_filter_has_no_preflights() -> None:
    found = simulated("OPTIONS", rule("put", method="PUT", cors=None), rule("rest"), about="PUT")
    assert found.rule is not None
    assert found.rule.name == "rest"


def test_a_refusal_says_nothing_of_origins() -> None:
    found = simulated("OPTIONS", rule("r", INVALID), about="PUT")
    assert (found.status, found.facts.get(ALLOWED)) == (500, None)


def test_a_request_without_an_origin_is_nobody_s_business() -> None:
    rules = HTTPListenerIR("app/web:80", "", 80, False, (rule("r"),))
    assert answer(rules, request("OPTIONS", "web", "/", [("access-control-request-method", "PUT")])).facts == {}
