"""From what nodes report to conditions of Routes."""

import json
from typing import Any

import pytest

from agent.controller.node_reports import NodeReport, NodeReports, report_collection
from agent.controller.status_store import StatusStore
from agent.controller.stored import decode_stored
from agent.ir.plan import Condition, Output, ParentStatus
from agent.model.change import Change, Delete, Problem, Upsert
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.model.weft_node import KIND, MAX_REJECTED, MAX_ROUTES

NOW, LATER = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
ROUTE = Key("HTTPRoute", "app", "web")
WEB = {"kind": "Service", "namespace": "app", "name": "web", "port": 80}
READ = report_collection().read


def entry(generation: int = 2, route: Key = ROUTE, message: str = "cannot bind", **parent: Any) -> dict[str, Any]:
    found = {"kind": route.kind, "namespace": route.namespace, "name": route.name, "generation": generation}
    return {
        "type": "Listener",
        "name": "app/web:80",
        "message": message,
        "parent": WEB | parent,
        "routes": [found],
    }


def document(name: str, *rejected: Any) -> bytes:
    status = {"rejected": rejected, "rejectedCount": len(rejected)}
    head = {"apiVersion": "weft.dev/v1alpha1", "kind": KIND, "metadata": {"name": name, "uid": "u", "labels": {}}}
    return json.dumps(head | {"status": status}).encode()


def report(name: str, *rejected: Any) -> Change:
    found = READ(document(name, *rejected), f"weftnodes/{name}")
    assert not isinstance(found, Problem), found
    (value,) = found
    assert value.key == Key(KIND, "", name)
    return Upsert(value)


def gone(name: str) -> Change:
    return Delete(Key(KIND, "", name))


def statuses(generation: int = 2, **ref: Any) -> tuple[ParentStatus, ...]:
    parent = ParentReference(**{"name": "web", "group": "", "kind": "Service"} | ref)
    return (ParentStatus(parent, (Condition("Accepted", True, "Accepted", "", generation),)),)


def programmed(reports: NodeReports, parents: tuple[ParentStatus, ...]) -> list[Condition]:
    """The conditions that were added."""
    found = reports.with_rejections(ROUTE, parents)
    assert [status.parent_ref for status in found] == [status.parent_ref for status in parents]
    return [condition for status in found for condition in status.conditions if condition.type != "Accepted"]


@pytest.fixture
def reports() -> NodeReports:
    made = NodeReports()
    assert made.update(report("n1", entry())) == {ROUTE}
    return made


def test_a_route_that_a_node_refuses_has_the_condition_with_node_resource_and_reason(reports: NodeReports) -> None:
    message = "Envoy refuses it on 1 node (n1); n1: Listener app/web:80: cannot bind"
    assert programmed(reports, statuses()) == [Condition("Programmed", False, "RejectedByEnvoy", message, 2)]


def test_the_condition_goes_with_the_last_node_that_reports_it(reports: NodeReports) -> None:
    assert reports.update(report("n2", entry())) == {ROUTE}
    assert reports.update(report("n1")) == {ROUTE}
    assert "(n2)" in programmed(reports, statuses())[0].message
    assert reports.update(gone("n2")) == {ROUTE}
    assert programmed(reports, statuses()) == []
    assert reports.update(gone("n2")) == set()


def test_a_message_names_the_first_nodes_and_counts_them(reports: NodeReports) -> None:
    for name in ("n4", "n3", "n2"):
        reports.update(report(name, entry(message=f"on {name}")))
    (condition,) = programmed(reports, statuses())
    assert condition.message.startswith("Envoy refuses it on 4 nodes (n1, n2, n3 and 1 more); n1: Listener ")


@pytest.mark.parametrize("generation", [1, 3])
def test_a_report_of_another_generation_says_nothing(reports: NodeReports, generation: int) -> None:
    assert programmed(reports, statuses(generation)) == []


@pytest.mark.parametrize(
    ("ref", "has"),
    [
        ({}, True),
        ({"namespace": "app"}, True),
        ({"port": 80}, True),
        ({"port": 81}, False),
        ({"namespace": "other"}, False),
        ({"name": "api"}, False),
        ({"kind": "ServiceImport"}, False),
    ],
)
def test_only_the_parent_whose_port_it_is_has_the_condition(
    reports: NodeReports, ref: dict[str, Any], has: bool
) -> None:
    assert bool(programmed(reports, statuses(**ref))) == has


def test_other_routes_and_what_is_none_of_ours_are_left_alone(reports: NodeReports) -> None:
    other = Key("HTTPRoute", "app", "other")
    assert reports.with_rejections(other, statuses()) == statuses()
    assert reports.with_rejections(ROUTE, ()) == ()


def test_bounds_hold_for_an_object_that_no_agent_writes() -> None:
    """A definition may have been changed by hand: what is beyond the bounds is not read."""
    wide = entry() | {"routes": [entry(route=Key("HTTPRoute", "app", f"r{n}"))["routes"][0] for n in range(50)]}
    change = report("n1", *([wide] * (MAX_REJECTED + 50)))
    assert isinstance(change, Upsert)
    assert isinstance(change.value, NodeReport)
    assert len(change.value.rejected) == MAX_REJECTED * MAX_ROUTES
    long = report("n1", entry(message="x" * 1_000_000))
    reports = NodeReports()
    reports.update(long)
    assert len(programmed(reports, statuses())[0].message) < 2000


def test_a_message_reaches_no_terminal_as_it_is() -> None:
    reports = NodeReports()
    reports.update(report("n1", entry(message="\x1b]0;title\x07")))
    assert programmed(reports, statuses())[0].message.isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        entry() | {"message": 1},
        entry(port="http"),
        entry() | {"routes": [{"kind": "HTTPRoute"}]},
        entry(generation=1.5),
        "Listener",
    ],
)
def test_an_object_that_cannot_be_read_is_named_and_the_others_are_read(wrong: Any) -> None:
    found = READ(document("bad", wrong), "weftnodes/bad")
    assert isinstance(found, Problem)
    assert (found.where, found.subject) == ("weftnodes/bad", KIND)
    assert "$.status.rejected[0]" in found.message
    assert not isinstance(READ(document("good", entry()), "weftnodes/good"), Problem)


def test_nesting_without_end_is_a_problem_too() -> None:
    assert isinstance(READ(b'{"metadata":' + b"[" * 100_000, "weftnodes/bad"), Problem)


def stored(version: int, parents: list[Any]) -> Any:
    meta = {"name": "web", "namespace": "app", "resourceVersion": str(version), "generation": 2}
    head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    return decode_stored(json.dumps(head | {"metadata": meta, "status": {"parents": parents}}).encode())


def test_the_condition_is_written_and_taken_back_and_nothing_else_moves() -> None:
    reports = NodeReports()
    store = StatusStore("weft", reports)
    store.set_desired([(Output(), Output(statuses={ROUTE: statuses()}))])
    store.store(stored(1, []))
    first = store.write(ROUTE, NOW)
    assert first is not None
    plain = first.body["status"]["parents"]
    store.store(stored(2, plain))
    reports.update(report("n1", entry()))
    second = store.write(ROUTE, LATER)
    assert second is not None
    assert second.body["metadata"] == {"resourceVersion": "2"}
    accepted, condition = second.body["status"]["parents"][0]["conditions"]
    assert accepted == plain[0]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Programmed", "False", "RejectedByEnvoy")
    assert (condition["observedGeneration"], condition["lastTransitionTime"]) == (2, LATER)
    store.store(stored(3, second.body["status"]["parents"]))
    assert store.write(ROUTE, NOW) is None
    reports.update(gone("n1"))
    third = store.write(ROUTE, NOW)
    assert third is not None
    assert third.body["status"]["parents"] == plain
