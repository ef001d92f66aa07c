"""What the agent answers about single requests."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from agent.explain.connection import parse
from agent.explain.trace import KEPT, Inquired, Inquiry
from agent.ir.access_log import Exchange
from agent.ir.plan import Fragment, FrontendName, FrontendPlan
from agent.ir.tables import Mode, Protocol
from agent.model.meta import Key
from agent.telemetry.http import BadRequestError

ASKED = parse("app/client", "http://web/a?b=%20", headers=["x: é&"])
NAME = FrontendName("10.96.0.1", 80, Protocol.TCP, "shop")


def ask(inquiry: Inquiry, asked: Inquired) -> Any:
    path, _, query = asked.path().partition("?")
    assert path == "/request"
    return json.loads(inquiry.answer(dict(parse_qsl(query))).body)


@pytest.fixture
def inquiry() -> Inquiry:
    plan = FrontendPlan(Key("Service", "app", "web"), Mode.L7, ())
    return Inquiry(lambda: [Fragment(frontends={NAME: plan})])


@pytest.mark.parametrize("frontend", ["10.96.0.1:80/TCP@shop", "10.96.0.1:80/TCP", ""])
def test_what_is_not_there_has_no_answer(inquiry: Inquiry, frontend: str) -> None:
    """A frontend that nobody has, and one that no listener serves."""
    assert ask(inquiry, Inquired(frontend, ASKED, "mark")) == {"waypoint": None, "happened": None}


@pytest.mark.parametrize("query", [{}, {"asked": "{"}, {"asked": '{"frontend": 1}'}])
def test_what_is_no_question_is_refused(inquiry: Inquiry, query: dict[str, str]) -> None:
    with pytest.raises(BadRequestError, match="asked: "):
        inquiry.answer(query)


def told(inquiry: Inquiry, *marks: str) -> None:
    inquiry.take([Exchange(0.0, "", 0, request_id=mark, code=number) for number, mark in enumerate(marks, 200)])


def test_only_what_is_waited_for_is_kept(inquiry: Inquiry) -> None:
    """Clients can write any id, one that they have seen too: the first request counts."""
    told(inquiry, "", "mine")
    ask(inquiry, Inquired("", ASKED, "mine"))
    told(inquiry, "", "other", "mine", "mine")
    assert [(mark, item and item.code) for mark, item in inquiry._awaited.items()] == [("mine", 202)]


def test_nobody_is_waited_for_for_ever(inquiry: Inquiry) -> None:
    for number in range(KEPT + 1):
        ask(inquiry, Inquired("", ASKED, f"{number}"))
    assert list(inquiry._awaited) == [f"{number}" for number in range(1, KEPT + 1)]
