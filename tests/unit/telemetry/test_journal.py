"""The journal: events with names, for viewers that come, go and sleep."""

import json

import pytest
from observe_fixtures import FACE, SMILEY, KnownObjects, plan

from agent.cli.flows import line, matches
from agent.cli.top import amount, table
from agent.ir.flow_tables import Event
from agent.ir.tables import UNSPECIFIED, Protocol, Reason, address_bytes
from agent.telemetry import journal as journals
from agent.telemetry.http import BadRequestError
from agent.telemetry.journal import Journal, answer
from agent.telemetry.names import service_id

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


def made(objects: KnownObjects | None = None) -> Journal:
    """The kernel's clock shows 10 s when it is 1000 s after the epoch."""
    return Journal((objects or KnownObjects()).names, lambda: 7, lambda: 10_000_000_000, lambda: 1000.0)


def test_an_event_has_names_and_the_time_of_day() -> None:
    journal = made()
    journal.add([event()])
    assert journal.after(0)["events"] == [
        {
            "number": 1,
            "time": "1970-01-01T00:16:35.250+00:00",
            "verdict": "forward",
            "reason": "forwarded",
            "policy": None,
            "errno": None,
            "namespace": "faces",
            "pod": "face-1",
            "workload": "face",
            "service": "faces/smiley",
            "protocol": "TCP",
            "destination": "10.96.0.1:80",
            "backend": "[fd00::7]:8080",
        }
    ]


def test_what_has_no_name_is_said_so() -> None:
    journal = made()
    journal.add([event(Reason.WAYPOINT_DIALLED, cgroup_id=0, service_id=0, backend=UNSPECIFIED)])
    (found,) = journal.after(0)["events"]
    assert [found[name] for name in ("verdict", "namespace", "pod", "service", "backend")] == ["reject", *[None] * 4]


def test_a_policy_is_shown_by_its_index() -> None:
    journal = made()
    journal.add([event(policy=0xABCDEF)])
    assert journal.after(0)["events"][0]["policy"] == 0xABCDEF


def test_a_reason_of_a_later_version_is_shown_by_its_number() -> None:
    journal = made()
    journal.add([event(Reason(len(Reason)))])
    assert journal.after(0)["events"][0]["reason"] == f"reason_{len(Reason)}"


def test_a_failure_has_its_errno() -> None:
    journal = made()
    journal.add([event(Reason.FAILED, error=111)])
    (found,) = journal.after(0)["events"]
    assert (found["verdict"], found["errno"]) == ("failed", "ECONNREFUSED")


def test_a_new_pod_is_looked_for_once_a_batch() -> None:
    objects = KnownObjects()
    journal = made(objects)
    journal.add([event()])
    objects.pods[50] = plan("face-3")
    journal.add([event(cgroup_id=50), event(cgroup_id=50), event(cgroup_id=99)])
    assert [found["pod"] for found in journal.after(1)["events"]] == ["face-3", "face-3", None]
    assert objects.looks == 2


def test_viewers_get_what_came_since_and_are_told_what_they_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "KEPT", 3)
    journal = made()
    journal.add([event()] * 2)
    assert journal.after(None) == {"next": 2, "missed": 0, "lost": 7, "events": []}
    journal.add([event()] * 3)
    told = journal.after(0)
    assert (told["next"], told["missed"], [found["number"] for found in told["events"]]) == (5, 2, [3, 4, 5])
    assert journal.after(5) == {"next": 5, "missed": 0, "lost": 7, "events": []}
    assert [found["number"] for found in journal.after(4)["events"]] == [5]


def test_a_number_of_a_former_agent_gets_everything() -> None:
    journal = made()
    journal.add([event()])
    assert len(journal.after(900)["events"]) == 1


def test_the_answer_is_json_and_nonsense_is_refused() -> None:
    journal = made()
    assert json.loads(answer(journal, {}).body) == {"next": 0, "missed": 0, "lost": 7, "events": []}
    assert json.loads(answer(journal, {"after": "0"}).body)["next"] == 0
    for nonsense in ("", "x", "-1", "9" * 5000):
        with pytest.raises(BadRequestError):
            answer(journal, {"after": nonsense})


@pytest.mark.parametrize(
    ("asked", "found"),
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
def test_filters(asked: dict[str, str], found: bool) -> None:
    journal = made()
    journal.add([event()])
    wanted = {"namespace": asked.get("namespace"), "verdict": asked.get("verdict")}
    assert matches(journal.after(0)["events"][0], wanted, asked.get("pod"), asked.get("service")) is found


@pytest.mark.parametrize(
    ("told", "text"),
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
def test_a_line_for_people(told: Event, text: str) -> None:
    journal = made()
    journal.add([told])
    assert line(journal.after(0)["events"][0]) == f"00:16:35.250 {text}"


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
