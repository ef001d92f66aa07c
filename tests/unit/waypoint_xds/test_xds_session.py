"""Sessions as the filter's configuration for a route."""

from typing import Any

import pytest

from agent.ir.http import Rule, Session
from agent.model.routes import GRPCRouteMatch, HTTPPathMatch, HTTPRouteMatch
from agent.waypoint.xds.session import cookie_path, session_config


def state(session: Session) -> dict[str, Any]:
    """How a rule's sessions are found again."""
    (found,) = session_config(Rule("r", HTTPRouteMatch(), session=session)).values()
    return dict(found["stateful_session"]["session_state"])


def test_a_rule_without_sessions_has_none():
    assert session_config(Rule("r", HTTPRouteMatch())) == {}


@pytest.mark.parametrize(("seconds", "ttl"), [(None, {}), (90, {"ttl": "90s"})])
def test_a_cookie(seconds: int | None, ttl: dict[str, str]):
    strict = {"name": "SameSite", "value": "Strict"}
    found = state(Session("seat", seconds=seconds))
    assert found["name"] == "envoy.http.stateful_session.cookie"
    assert found["typed_config"]["cookie"] == {"name": "seat", "path": "/", "attributes": [strict], **ttl}


def test_a_header():
    found = state(Session("x-seat", header=True))
    assert (found["name"], found["typed_config"]["name"]) == ("envoy.http.stateful_session.header", "x-seat")


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        ("PathPrefix", "/", "/"),
        ("PathPrefix", "/a/b/", "/a/b"),
        ("Exact", "/a.b", "/a.b"),
        ("Exact", "/a/b;c/d", "/a"),
        ("PathPrefix", "/;c", "/"),
        ("RegularExpression", "/a/b/[c]", "/a/b"),
        ("RegularExpression", "/a/b+", "/a"),
        ("RegularExpression", "/a|/b", "/"),
        ("RegularExpression", ".*", "/"),
        ("RegularExpression", "/a.b/c", "/"),
    ],
)
def test_paths(kind: str, value: str, path: str):
    assert cookie_path(HTTPRouteMatch(HTTPPathMatch(kind, value))) == path


def test_a_grpc_call_has_no_path_of_its_own():
    assert cookie_path(GRPCRouteMatch()) == "/"
