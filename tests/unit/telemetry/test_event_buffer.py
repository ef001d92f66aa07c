"""The event buffer: events with names, for viewers that come, go and sleep."""

import errno
import json
import logging
from dataclasses import replace

import pytest

from agent.cli.flows import line, matches
from agent.cli.top import amount, table
from agent.ir.authorization import policy_index
from agent.ir.flow_tables import Event
from agent.ir.tables import UNSPECIFIED, Protocol, Reason, address_bytes
from agent.model.meta import Key
from agent.telemetry import event_buffer
from agent.telemetry.event_buffer import Causes, EventBuffer, answer
from agent.telemetry.flow_metrics import REFUSAL_FLAGS
from agent.telemetry.flows import REFUSED
from agent.telemetry.http import BadRequestError
from agent.telemetry.name_index import service_id
from support.fakes.telemetry import FACE, SMILEY, KnownObjects, plan

POLICIES = [Key("AuthorizationPolicy", "shop", "web"), Key("MeshParameters", "", "default")]
VIP, BACKEND = address_bytes("10.96.0.1"), address_bytes("fd00::7")


def event(reason: Reason = Reason.FORWARDED, **changes: object) -> Event:
    given = {
        "time": 5_250_000_000,
        "cgroup_id": 41,
        "service_id": service_id(SMILEY),
        "original": VIP,
        "original_port": 80,
        "backend": BACKEND,
        "backend_port": 8080,
        "reason": reason,
        "error": 0,
        "protocol": Protocol.TCP,
    }
    return Event(**(given | changes))


def made(objects: KnownObjects | None = None) -> EventBuffer:
    """The kernel's clock shows 10 s when it is 1000 s after the epoch."""
    return EventBuffer(
        (objects or KnownObjects()).names, Causes(lambda: POLICIES), lambda: 7, lambda: 10_000_000_000, lambda: 1000.0
    )


def test_an_event_has_names_and_the_time_of_day() -> None:
    buffer = made()
    buffer.add([event()])
    assert buffer.after(0)["events"] == [
        {
            "number": 1,
            "time": "1970-01-01T00:16:35.250+00:00",
            "verdict": "forward",
            "reason": "forwarded",
            "policy": None,
            "errno": None,
            "namespace": "faces",
            "pod": "face-1",
            "source": None,
            "workload": "face",
            "service": "faces/smiley",
            "protocol": "TCP",
            "destination": "10.96.0.1:80",
            "backend": "[fd00::7]:8080",
        }
    ]


@pytest.mark.parametrize(
    ("reason", "error", "backend", "shown"),
    [
        (Reason.FAILED, errno.EHOSTUNREACH, BACKEND, "no_tunnel"),
        (Reason.FAILED, errno.EACCES, BACKEND, "no_tunnel"),
        (Reason.FAILED, errno.ECONNREFUSED, BACKEND, "failed"),
        (Reason.FAILED, errno.EHOSTUNREACH, VIP, "failed"),
        (Reason.FAILED, errno.EHOSTUNREACH, UNSPECIFIED, "failed"),
        (Reason.FORWARDED, errno.EHOSTUNREACH, BACKEND, "forwarded"),
    ],
)
def test_a_failure_of_a_connection_that_no_tunnel_leads_to(
    reason: Reason, error: int, backend: bytes, shown: str
) -> None:
    causes = Causes(lambda: POLICIES, lambda address: address == "fd00::7")
    buffer = EventBuffer(KnownObjects().names, causes, lambda: 7, lambda: 0, lambda: 0.0)
    buffer.add([event(reason, error=error, backend=backend)])
    (found,) = buffer.after(0)["events"]
    assert found["reason"] == shown
    assert line(found).endswith(": no tunnel)") == (shown == "no_tunnel"), line(found)


def test_what_has_no_name_is_said_so() -> None:
    buffer = made()
    buffer.add([event(Reason.WAYPOINT_DIALLED, cgroup_id=0, service_id=0, backend=UNSPECIFIED)])
    (found,) = buffer.after(0)["events"]
    assert [found[name] for name in ("verdict", "namespace", "pod", "service", "backend")] == ["reject", *[None] * 4]


def test_a_policy_is_shown_by_its_name_and_one_that_is_gone_by_its_index() -> None:
    buffer = made()
    buffer.add([event(Reason.POLICY_FORBIDS, policy=policy_index(POLICIES[0])), event(policy=0x00CDEF)])
    named, gone = buffer.after(0)["events"]
    assert (named["verdict"], named["policy"], gone["policy"]) == ("reject", "AuthorizationPolicy shop/web", "00cdef")
    assert line(named).endswith("(policy forbids: AuthorizationPolicy shop/web)")


def test_an_audit_has_the_client_by_its_address_and_the_audited_policies(caplog: pytest.LogCaptureFixture) -> None:
    server, here, elsewhere = (address_bytes(address) for address in ("10.1.0.5", "10.1.0.9", "10.9.0.9"))
    objects = KnownObjects()
    objects.pods[50] = replace(plan("face-3"), addresses=("10.1.0.9",))
    causes = Causes(list, audited={server: "shop/a+shop/b"}.get)
    buffer = EventBuffer(objects.names, causes, lambda: 0, lambda: 0, lambda: 1000.0)
    tried = {"cgroup_id": 0, "service_id": 0, "original": server}
    with caplog.at_level(logging.INFO):
        buffer.add([event(Reason.AUDIT_REFUSED, backend=one, **tried) for one in (here, elsewhere, here)])
    found = buffer.after(0)["events"]
    assert [(item["verdict"], item["pod"], item["source"], item["backend"]) for item in found] == [
        ("audit", "face-3", "10.1.0.9", None),
        ("audit", None, "10.9.0.9", None),
        ("audit", "face-3", "10.1.0.9", None),
    ]
    assert {item["policy"] for item in found} == {"shop/a+shop/b"}
    assert line(found[1]).endswith("audit    10.9.0.9 → 10.1.0.5:80/TCP (audit refused: shop/a+shop/b)")
    assert [(record.policy, record.source) for record in caplog.records] == [
        ("shop/a+shop/b", "10.1.0.9"),
        ("shop/a+shop/b", "10.9.0.9"),
    ], "a line for each client"


def test_a_reason_of_a_later_version_is_shown_by_its_number() -> None:
    buffer = made()
    buffer.add([event(Reason(len(Reason)))])
    assert buffer.after(0)["events"][0]["reason"] == f"reason_{len(Reason)}"


def test_a_failure_has_its_errno() -> None:
    buffer = made()
    buffer.add([event(Reason.FAILED, error=111)])
    (found,) = buffer.after(0)["events"]
    assert (found["verdict"], found["errno"]) == ("failed", "ECONNREFUSED")


def test_a_new_pod_is_looked_for_once_a_batch() -> None:
    objects = KnownObjects()
    buffer = made(objects)
    buffer.add([event()])
    objects.pods[50] = plan("face-3")
    buffer.add([event(cgroup_id=50), event(cgroup_id=50), event(cgroup_id=99)])
    assert [found["pod"] for found in buffer.after(1)["events"]] == ["face-3", "face-3", None]
    assert objects.looks == 2


def test_viewers_get_what_came_since_and_are_told_what_they_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_buffer, "BUFFERED_EVENTS", 3)
    buffer = made()
    buffer.add([event()] * 2)
    assert buffer.after(None) == {"next": 2, "missed": 0, "lost": 7, "events": []}
    buffer.add([event()] * 3)
    answered = buffer.after(0)
    assert (answered["next"], answered["missed"], [found["number"] for found in answered["events"]]) == (
        5,
        2,
        [3, 4, 5],
    )
    assert buffer.after(5) == {"next": 5, "missed": 0, "lost": 7, "events": []}
    assert [found["number"] for found in buffer.after(4)["events"]] == [5]


def test_a_number_of_a_former_agent_gets_everything() -> None:
    buffer = made()
    buffer.add([event()])
    assert len(buffer.after(900)["events"]) == 1


def test_the_answer_is_json_and_nonsense_is_refused() -> None:
    buffer = made()
    assert json.loads(answer(buffer, {}).body) == {"next": 0, "missed": 0, "lost": 7, "events": []}
    assert json.loads(answer(buffer, {"after": "0"}).body)["next"] == 0
    for nonsense in ("", "x", "-1", "9" * 5000):
        with pytest.raises(BadRequestError):
            answer(buffer, {"after": nonsense})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, True),
        ({"namespace": "faces"}, True),
        ({"namespace": "other"}, False),
        ({"verdict": "forward"}, True),
        ({"verdict": "reject"}, False),
        ({"pod": "face-1"}, True),
        ({"pod": FACE.name}, True),
        ({"pod": "face-2"}, False),
        ({"service": "faces/smiley"}, True),
        ({"service": "smiley"}, True),
        ({"service": "other/smiley"}, False),
    ],
)
def test_filters(options: dict[str, str], found: bool) -> None:
    buffer = made()
    buffer.add([event()])
    wanted = {"namespace": options.get("namespace"), "verdict": options.get("verdict")}
    assert matches(buffer.after(0)["events"][0], wanted, options.get("pod"), options.get("service")) is found


@pytest.mark.parametrize(
    ("happening", "text"),
    [
        (event(), "forward  faces/face-1 → faces/smiley 10.96.0.1:80/TCP via [fd00::7]:8080"),
        (
            event(Reason.FAILED, error=111),
            "failed   faces/face-1 → faces/smiley 10.96.0.1:80/TCP via [fd00::7]:8080 (ECONNREFUSED)",
        ),
        (
            event(Reason.NO_BACKEND, backend=UNSPECIFIED),
            "reject   faces/face-1 → faces/smiley 10.96.0.1:80/TCP (no backend)",
        ),
        (
            event(Reason.NO_FRONTEND, service_id=0, cgroup_id=0, backend=UNSPECIFIED),
            "pass     unknown pod → 10.96.0.1:80/TCP (no frontend)",
        ),
    ],
)
def test_a_line_for_people(happening: Event, text: str) -> None:
    buffer = made()
    buffer.add([happening])
    assert line(buffer.after(0)["events"][0]) == f"00:16:35.250 {text}"


def test_amounts_for_people() -> None:
    assert [amount(number) for number in (0, 999, 1000, 3_400_000, 5e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "3.4 MB",
        "5000.0 TB",
    ]


def test_top_shows_the_busiest_first() -> None:
    row = {
        "namespace": "faces",
        "workload": "face",
        "protocol": "TCP",
        **dict.fromkeys(("established", "refused", "failed", "closed", "sent", "received"), 2),
        "connectMicroseconds": 500,
        "rttMicroseconds": 100,
    }
    quiet, busy = {**row, "service": "faces/quiet", "opened": 100}, {**row, "service": "faces/busy", "opened": 30}
    before = {("faces", "face", "faces/quiet", "TCP"): 98, ("faces", "face", "faces/busy", "TCP"): 10}
    found = table([quiet, busy], before, 2.0)
    columns = {str(column.header): list(map(str, column.cells)) for column in found.columns}
    assert columns["SERVICE"] == ["faces/busy", "faces/quiet"]
    assert columns["NEW/S"] == ["10.0", "1.0"]
    assert (columns["CONNECT"][0], columns["RTT"][0], columns["OPEN"][0]) == ("0.25 ms", "0.05 ms", "0")


def test_every_refusal_has_a_response_flag() -> None:
    assert set(REFUSAL_FLAGS) == REFUSED
