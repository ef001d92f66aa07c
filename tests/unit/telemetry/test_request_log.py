"""The access log: what a line has, which requests have one, and what happens when its reader is slow."""

import io
import json
from dataclasses import replace
from threading import Event

import pytest

from agent.ir.access_log import AccessLogEntry
from agent.telemetry import access_log
from agent.telemetry.access_log import AccessLogWriter
from agent.telemetry.request_log import ListenerPorts, PodAddresses, RequestLog
from support.fakes.telemetry import CLIENT, plan

ENTRY = AccessLogEntry(
    start=1_700_000_000.25,
    client="10.1.0.9",
    port=20000,
    route="faces/canary/main/0",
    cluster="faces/smiley2:80/http",
    upstream="10.1.0.2:8080",
    protocol="HTTP/1.1",
    method="GET",
    authority="smiley",
    path='/a"b',
    code=200,
    attempts=1,
    received=80,
    sent=5000,
    seconds=0.003,
    upstream_seconds=0.002,
)


class Node:
    """What the agent knows of a node, and what it writes."""

    def __init__(self) -> None:
        self.pods = {41: CLIENT}
        self.ports = {"faces/smiley:80@faces": 20000}
        self.logged = {"faces"}
        self.written: list[bytes] = []
        self.request_log = RequestLog(
            PodAddresses(lambda: self.pods),
            ListenerPorts(lambda: self.ports),
            self.logged.__contains__,
            self.written.append,
        )

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.written]


def test_a_line_names_the_pod_the_service_and_the_rule() -> None:
    node = Node()
    node.request_log.record([ENTRY])
    (found,) = node.lines()
    assert found.items() >= {
        ("time", "2023-11-14T22:13:20.250+00:00"),
        ("namespace", "faces"),
        ("pod", "face-1"),
        ("workload", "face"),
        ("address", "10.1.0.9"),
        ("service", "faces/smiley:80"),
        ("route", "faces/canary"),
        ("rule", "main"),
        ("backend", "faces/smiley2:80"),
        ("upstream", "10.1.0.2:8080"),
        ("path", '/a"b'),
        ("code", 200),
        ("milliseconds", 3.0),
        ("grpcStatus", None),
    }
    assert node.written[0].endswith(b"\n")
    assert node.written[0].count(b"\n") == 1


def test_only_requests_to_namespaces_that_ask_are_written() -> None:
    node = Node()
    node.logged.clear()
    node.request_log.record([ENTRY])
    assert node.written == []


def test_a_pod_that_has_just_gone_keeps_its_name_until_its_address_is_another_s() -> None:
    node = Node()
    node.request_log.record([ENTRY])
    node.pods.clear()
    node.request_log.record([ENTRY])
    node.pods[42] = replace(plan("face-2"), addresses=("10.1.0.9",))
    node.request_log.record([ENTRY])
    assert [line["pod"] for line in node.lines()] == ["face-1", "face-1", "face-2"]


def test_addresses_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.telemetry.request_log.MAX_ADDRESSES", 2)
    pods = {1: replace(plan("old"), addresses=("10.0.0.1",))}
    addresses = PodAddresses(lambda: pods)
    addresses.refresh()
    pods[1] = replace(plan("new"), addresses=("10.0.0.2", "fd00::2"))
    addresses.refresh()
    assert addresses.pod("10.0.0.1") is None
    assert addresses.pod("fd00::2") is pods[1]


def test_a_port_is_the_listener_s_that_has_it_now() -> None:
    ports = {"a/b:80": 20000}
    listeners = ListenerPorts(lambda: ports)
    assert listeners.name(20000) == "a/b:80"
    ports.clear()
    assert listeners.name(20000) == "a/b:80"
    ports["c/d:80"] = 20000
    assert listeners.name(20000) == "c/d:80"
    assert listeners.name(20001) is None


class Stuck(io.BytesIO):
    """Takes one line, and nothing more before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = Event(), Event()

    def write(self, text: bytes) -> int:  # type: ignore[override]
        self.entered.set()
        self.go.wait(10)
        return super().write(text)


def test_lines_that_nobody_takes_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "QUEUED_LINES", 2)
    out = Stuck()
    lines = AccessLogWriter(out)
    lines.put(b"1\n")
    assert out.entered.wait(10)
    for text in (b"2\n", b"3\n", b"4\n"):
        lines.put(text)
    assert lines.dropped == 1
    out.go.set()
    lines.close()
    assert out.getvalue() == b"1\n2\n3\n"


def test_a_closed_output_loses_lines_and_nothing_else() -> None:
    out = io.BytesIO()
    out.write = lambda _: (_ for _ in ()).throw(BrokenPipeError())  # type: ignore[method-assign, assignment]
    lines = AccessLogWriter(out)
    lines.put(b"1\n")
    lines.close()
    assert lines.dropped == 1
