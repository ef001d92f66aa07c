"""What the agent answers about single requests."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from agent.explain.connection import parse
from agent.explain.trace import MAX_AWAITED, RequestTracer, TraceRequest
from agent.ir.access_log import AccessLogEntry
from agent.ir.plan import FrontendName, FrontendPlan, Output
from agent.ir.tables import Mode, Protocol
from agent.model.meta import Key
from agent.telemetry.http import BadRequestError

QUERY = parse("app/client", "http://web/a?b=%20", headers=["x: é&"])
NAME = FrontendName("10.96.0.1", 80, Protocol.TCP, "shop")


def ask(tracer: RequestTracer, request: TraceRequest) -> Any:
    path, _, query = request.path().partition("?")
    assert path == "/request"
    return json.loads(tracer.answer(dict(parse_qsl(query))).body)


@pytest.fixture
def tracer() -> RequestTracer:
    plan = FrontendPlan(Key("Service", "app", "web"), Mode.L7, ())
    return RequestTracer(lambda: [Output(frontends={NAME: plan})])


@pytest.mark.parametrize("frontend", ["10.96.0.1:80/TCP@shop", "10.96.0.1:80/TCP", ""])
def test_what_is_not_there_has_no_answer(tracer: RequestTracer, frontend: str) -> None:
    """A frontend that nobody has, and one that no listener serves."""
    assert ask(tracer, TraceRequest(frontend, QUERY, "mark")) == {"waypoint": None, "observed": None}


@pytest.mark.parametrize("query", [{}, {"request": "{"}, {"request": '{"frontend": 1}'}])
def test_what_is_no_question_is_refused(tracer: RequestTracer, query: dict[str, str]) -> None:
    with pytest.raises(BadRequestError, match="query: "):
        tracer.answer(query)


def log(tracer: RequestTracer, *marks: str) -> None:
    tracer.take([AccessLogEntry(0.0, "", 0, request_id=mark, code=number) for number, mark in enumerate(marks, 200)])


def test_only_what_is_waited_for_is_kept(tracer: RequestTracer) -> None:
    """Clients can write any id, one that they have seen too: the first request counts."""
    log(tracer, "", "mine")
    ask(tracer, TraceRequest("", QUERY, "mine"))
    log(tracer, "", "other", "mine", "mine")
    assert [(mark, item and item.code) for mark, item in tracer._awaited.items()] == [("mine", 202)]


def test_nobody_is_waited_for_for_ever(tracer: RequestTracer) -> None:
    for number in range(MAX_AWAITED + 1):
        ask(tracer, TraceRequest("", QUERY, f"{number}"))
    assert list(tracer._awaited) == [f"{number}" for number in range(1, MAX_AWAITED + 1)]
