"""Whether the nodes enforce a policy, as its status says it: from WeftNodes as stored to the condition."""

import json
from typing import Any

import pytest

from agent.controller.merge import Json
from agent.controller.node_reports import NodeReports, report_collection
from agent.controller.programmed import MAX_STATES, NAMED
from agent.controller.status_store import StatusStore
from agent.controller.stored import decode_stored
from agent.ir.plan import Output
from agent.model.authorization import AuthorizationPolicy
from agent.model.change import Delete, Problem, Upsert
from agent.model.meta import Key
from agent.model.policy_versions import PolicyVersions
from agent.model.weft_node import KIND, MAX_SELECTING
from agent.translate.policy_status import translate_policy_status
from support.policies import POLICY, VERSION, versioned
from support.translate import view_of

NOW = "2026-01-01T00:00:00Z"
LAGGING = "it has not reported this version yet"


class Mesh:
    """A controller with policies and reports of nodes; statuses are written until they are up to date."""

    def __init__(self) -> None:
        self.reports = NodeReports()
        self.versions = PolicyVersions()
        self.policies: dict[Key, AuthorizationPolicy] = {}
        self.statuses: dict[Key, Json] = {}
        self.touched: set[Key] = set()
        self.store = StatusStore("weft", self.reports)

    def apply(self, found: AuthorizationPolicy) -> None:
        if found.metadata.uid != getattr(self.policies.get(found.key), "metadata", found.metadata).uid:
            self.statuses.pop(found.key)
        self.policies[found.key] = found
        self.versions.apply(Upsert(found))
        self.touched |= self.reports.policies.observe(Upsert(found))
        self.store.set_desired([(Output(), translate_policy_status(view_of(found), found.key))])

    def delete(self, key: Key) -> None:
        self.versions.apply(Delete(key))
        self.touched |= self.reports.policies.observe(Delete(key))

    def report(self, node: str, *selecting: dict[str, Any], observed: str | None = None, count: int = 0) -> None:
        """A node has processed all policies, unless another digest is given."""
        listed = {"observed": observed or self.versions.digest, "count": count or len(selecting)}
        self.status(node, {"policies": listed | {"selecting": selecting}})

    def status(self, node: str, status: Json) -> None:
        found = report_collection().read(json.dumps({"metadata": {"name": node}, "status": status}).encode(), node)
        assert not isinstance(found, Problem), found
        self.touched |= self.reports.update(Upsert(found[0]))

    def condition(self, key: Key = POLICY) -> tuple[str, str, str] | None:
        """What is written to the policy; None: it has no such condition."""
        found, version = self.policies[key], str(len(json.dumps(self.statuses.get(key, {}))))
        meta = {"name": key.name, "namespace": key.namespace, "generation": found.metadata.generation}
        body = {"apiVersion": VERSION, "kind": key.kind, "metadata": meta | {"resourceVersion": f"v{version}"}}
        self.store.store(decode_stored(json.dumps(body | {"status": self.statuses.get(key, {})}).encode()))
        if (write := self.store.write(key, NOW)) is not None:
            self.statuses[key] = dict(write.body["status"])
        self.touched.discard(key)
        conditions = {item["type"]: item for item in self.statuses[key]["ancestors"][0]["conditions"]}
        item = conditions.get("Programmed")
        assert item is None or item["observedGeneration"] == found.metadata.generation
        return (item["status"], item["reason"], item["message"]) if item else None


def selected(generation: int = 1, name: str = "p", **more: str) -> dict[str, Any]:
    return {"namespace": "app", "name": name, "generation": generation, **more}


@pytest.fixture
def mesh() -> Mesh:
    made = Mesh()
    made.apply(versioned())
    return made


def test_true_is_only_what_every_node_that_reports_has(mesh: Mesh) -> None:
    assert mesh.condition() == ("Unknown", "NoNodes", "no node reports")
    before = PolicyVersions().digest
    mesh.report("n1")
    assert POLICY in mesh.touched, "the first node"
    mesh.report("n1", selected())
    mesh.report("n2", observed=before)
    assert POLICY in mesh.touched
    assert mesh.condition() == ("Unknown", "Pending", f"not known of 1 node: n2: {LAGGING}")
    mesh.report("n2")
    assert POLICY in mesh.touched
    assert mesh.condition() == ("True", "Programmed", "enforced on every node with pods that it selects")


def test_a_new_generation_is_enforced_once_each_node_reports_it(mesh: Mesh) -> None:
    for node in ("n1", "n2", "n3"):
        mesh.report(node, *([selected()] if node != "n3" else []))
    assert (mesh.condition() or "")[0] == "True"
    mesh.apply(versioned(generation=2))
    text = "not enforced on 2 nodes: n1: generation 1 is in force; n2: generation 1 is in force"
    assert mesh.condition() == ("False", "Reconciling", text)
    for node in ("n1", "n2"):
        mesh.report(node, selected(2))
    assert mesh.condition() == ("Unknown", "Pending", f"not known of 1 node: n3: {LAGGING}"), "n3 may have pods now"
    mesh.report("n3")
    assert (mesh.condition() or "")[0] == "True"


def test_a_node_that_cannot_is_named_with_its_reason(mesh: Mesh) -> None:
    mesh.report("n1", selected())
    mesh.report("n2", selected(reason="NotAttached", message="app/a: trying again"))
    mesh.report("n3", selected(reason="Unsupported", message="app/b: \x1b[31mhostNetwork"))
    found = mesh.condition()
    assert found is not None
    assert found[:2] == ("False", "Unsupported"), "the gravest"
    assert found[2].startswith("not enforced on 2 nodes: n2: app/a: trying again; n3: app/b: ")
    assert found[2].isprintable()
    mesh.report("n3", selected(reason="OfALaterVersion"))
    mesh.report("n2", selected())
    assert mesh.condition() == ("False", "NotAttached", "not enforced on 1 node: n3: OfALaterVersion")
    mesh.reports.update(Delete(Key(KIND, "", "n3")))
    assert (mesh.condition() or "")[0] == "True"


def test_a_few_nodes_are_named_and_the_others_are_counted(mesh: Mesh) -> None:
    for number in range(500):
        mesh.report(f"n{number:03}", selected(reason="Unsupported", message="x" * 100_000))
    found = mesh.condition()
    assert found is not None
    assert found[2].startswith("not enforced on 500 nodes: n000: x")
    assert found[2].endswith(f"; and {500 - NAMED} more")
    assert len(found[2]) < 2000


def test_nodes_of_which_nothing_is_known_leave_it_unknown(mesh: Mesh) -> None:
    mesh.report("n1")
    mesh.status("n2", {"waypoints": ["10.0.0.1"]})
    text = "the agents of these nodes report no policies: n2"
    assert mesh.condition() == ("Unknown", "Pending", text)
    listed = [selected(name=f"q{number}") for number in range(MAX_SELECTING)]
    mesh.report("n2", *listed, count=MAX_SELECTING + 1)
    text = f"not known of 1 node: n2: more than {MAX_SELECTING} policies select its pods"
    assert mesh.condition() == ("Unknown", "Pending", text)
    mesh.report("n2", selected(), *listed[1:], count=MAX_SELECTING + 1)
    assert (mesh.condition() or "")[0] == "True"


def test_an_upgrade_of_all_agents_writes_a_policy_a_few_times(mesh: Mesh) -> None:
    for number in range(100):
        mesh.status(f"n{number:02}", {"waypoints": ["10.0.0.1"]})
    texts = []
    for number in reversed(range(100)):
        texts.append((mesh.condition() or ("", "", ""))[2])
        mesh.report(f"n{number:02}")
    assert texts[0] == "the agents of these nodes report no policies: n00, n01, n02 and more"
    assert len(set(texts)) == 4
    assert (mesh.condition() or "")[0] == "True"


def test_other_policies_and_nodes_that_come_change_no_condition_that_is_true(mesh: Mesh) -> None:
    mesh.report("n1", selected())
    assert (mesh.condition() or "")[0] == "True"
    mesh.status("n2", {"waypoints": ["10.0.0.1"]})
    mesh.apply(versioned("q"))
    mesh.apply(versioned("q", 2))
    assert (mesh.condition() or "")[0] == "True"
    assert (mesh.condition(POLICY._replace(name="q")) or "")[0] == "Unknown"


def test_a_node_that_is_behind_knows_what_has_not_changed_since(mesh: Mesh) -> None:
    known = mesh.versions.digest
    for generation in range(1, 50):
        mesh.apply(versioned("busy", generation))
    mesh.report("n1", observed=known)
    assert (mesh.condition() or "")[0] == "True"
    assert (mesh.condition(POLICY._replace(name="busy")) or "")[0] == "Unknown"


def test_the_memory_of_states_is_bounded(mesh: Mesh) -> None:
    forgotten = mesh.versions.digest
    for generation in range(1, MAX_STATES + 10):
        mesh.reports.policies.observe(Upsert(versioned("busy", generation)))
    mesh.report("n1", observed=forgotten)
    assert (mesh.condition() or "")[0] == "Unknown"


def test_a_node_may_know_of_a_change_before_the_controller(mesh: Mesh) -> None:
    ahead = PolicyVersions()
    for found in (versioned(), versioned("q")):
        ahead.apply(Upsert(found))
    mesh.report("n1", selected(), observed=ahead.digest)
    assert (mesh.condition() or "")[0] == "Unknown"
    mesh.apply(versioned("q"))
    assert POLICY in mesh.touched
    assert (mesh.condition() or "")[0] == "True"


def test_a_policy_that_was_created_again_is_another_one(mesh: Mesh) -> None:
    mesh.report("n1", selected())
    assert (mesh.condition() or "")[0] == "True"
    mesh.delete(POLICY)
    mesh.apply(versioned(uid="u2"))
    assert (mesh.condition() or "")[0] == "Unknown", "what n1 lists is generation 1 of the former one"
    mesh.report("n1", selected())
    assert (mesh.condition() or "")[0] == "True"


def test_a_dry_run_is_enforced_nowhere(mesh: Mesh) -> None:
    mesh.report("n1", selected())
    assert (mesh.condition() or "")[0] == "True"
    mesh.apply(versioned(audit="true"))
    assert mesh.condition() == ("False", "Audited", "a dry run: no node enforces it")
    mesh.apply(versioned())
    assert (mesh.condition() or "")[0] == "True", "n1 enforced exactly this, and reports nothing else"


def test_only_the_policies_that_it_may_concern_are_looked_at_again(mesh: Mesh) -> None:
    known = mesh.versions.digest
    mesh.apply(versioned("q"))
    q = POLICY._replace(name="q")
    mesh.report("n1", observed=known)
    mesh.report("n2")
    mesh.touched.clear()
    mesh.report("n1")
    assert mesh.touched == {q}, "n1 knew p before"
    mesh.touched.clear()
    mesh.report("n1", selected())
    assert mesh.touched == {POLICY}
    mesh.touched.clear()
    mesh.report("n1", selected())
    assert not mesh.touched
