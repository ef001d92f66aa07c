"""Spans reach a real collector; without one, no request is touched."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.waypoint.collector import CollectorHandle, collector
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import NO_ENDPOINTS, V1, any_path, exact, rule, to

pytestmark = pytest.mark.node
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = (f"00-{TRACE}-{PARENT}-{flags}" for flags in ("01", "00"))


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def spans(node: WaypointNode) -> Iterator[CollectorHandle]:
    """A collector that gets everything that clients do not forbid."""
    with collector(node) as made:
        yield made


@pytest.fixture(scope="module")
def port(node: WaypointNode, spans: CollectorHandle) -> int:
    """A listener with spans."""
    return node.serve(rule(exact("/nobody"), to(NO_ENDPOINTS)), rule(any_path(), to(V1)))


def test_a_request_without_a_trace_starts_one(node, spans, port):
    (sent,) = node.ask(port, "/fresh").sent("traceparent")
    found = spans.span("/fresh")
    assert sent == f"00-{found.trace}-{found.number}-01"
    assert (found.parent, found.name, found.service) == ("", "app/route/0/0", "weft-waypoint")


def test_a_span_names_the_service_the_rule_and_what_became_of_it(node, spans, port):
    assert node.ask(port, "/nobody").status == 503
    attributes = spans.span("/nobody").attributes
    assert attributes["weft.service"].startswith("app/s")
    assert attributes["weft.rule"] == "app/route/0/0"
    assert (attributes["http.method"], attributes["http.status_code"], attributes["response_flags"]) == (
        "GET",
        "503",
        "UH",
    )
    assert attributes["upstream_cluster"] == NO_ENDPOINTS.cluster


def test_a_client_s_trace_goes_on(node, spans, port):
    (sent,) = node.ask(port, "/sampled", headers=[("traceparent", SAMPLED), ("tracestate", "a=1")]).sent("traceparent")
    found = spans.span("/sampled")
    assert (found.trace, found.parent) == (TRACE, PARENT)
    assert sent == f"00-{TRACE}-{found.number}-01"


def test_a_client_that_says_no_makes_no_span(node, spans, port):
    answer = node.ask(port, "/silent", headers=[("traceparent", NOT_SAMPLED), ("tracestate", "a=1")])
    (sent,) = answer.sent("traceparent")
    assert (sent[:36], sent[-3:]) == (f"00-{TRACE}-", "-00")
    assert answer.sent("tracestate") == ["a=1"]
    node.ask(port, "/after-silence")
    spans.span("/after-silence")
    assert not any(span.attributes["http.url"].endswith("/silent") for span in spans.spans)


def test_nothing_but_the_trace_is_added(node, port):
    answer = node.ask(port)
    names = [name.lower() for name, _ in answer.seen["headers"]]
    assert names == ["host", "x-forwarded-proto", "traceparent", "tracestate"]
    assert sorted(name for name, _ in answer.headers) == ["Content-Length", "Content-Type", "date"]


def test_of_no_percent_only_clients_traces_are_kept(node, spans, monkeypatch):
    monkeypatch.setattr(node, "collector", replace(node.collector, percent=0))
    port = node.serve(rule(any_path(), to(V1)))
    flags = {node.ask(port, f"/none/{number}").sent("traceparent")[0][-2:] for number in range(20)}
    assert flags == {"00"}
    node.ask(port, "/kept", headers=[("traceparent", SAMPLED)])
    spans.span("/kept")
    assert not any("/none/" in span.attributes["http.url"] for span in spans.spans)


def test_without_a_collector_no_request_is_touched(node, monkeypatch):
    monkeypatch.setattr(node, "collector", None)
    port = node.serve(rule(any_path(), to(V1)))
    assert [name.lower() for name, _ in node.ask(port).seen["headers"]] == ["host", "x-forwarded-proto"]
    assert node.ask(port, headers=[("traceparent", SAMPLED)]).sent("traceparent") == [SAMPLED]


def test_a_collector_that_is_gone_costs_no_request(node):
    with collector(node):
        port = node.serve(rule(any_path(), to(V1)))
    assert {node.ask(port, f"/gone/{number}").status for number in range(20)} == {200}
