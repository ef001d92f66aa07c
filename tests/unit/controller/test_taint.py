"""Which nodes are freed of the startup taint, and what of them is written."""

import json
from typing import Any

import pytest

from agent.controller.taint import KINDS, TAINT, TaintStore, taint_collections
from agent.model.change import Delete, Problem, Upsert
from agent.model.core import Pod, PodCondition, PodSpec, PodStatus
from agent.model.meta import Key, ObjectMeta

NODE = Key("Node", "", "n1")
OURS = {"key": TAINT, "effect": "NoSchedule"}
OTHER = {"key": "example.org/x", "effect": "NoExecute", "value": "y", "timeAdded": "2026-01-01T00:00:00Z"}
PATCH = {"metadata": {"resourceVersion": "7"}, "spec": {"taints": [OTHER]}}


def raw(*taints: dict[str, Any], name: str = "n1") -> bytes:
    meta = {"name": name, "resourceVersion": "7", "creationTimestamp": "2026-01-01T10:00:00Z"}
    return json.dumps({"metadata": meta, "spec": {"taints": list(taints)}, "status": {"images": []}}).encode()


def agent(ready: str = "True", node: str = "n1", at: str = "2026-01-01T10:00:00Z", app: str = "weft-agent") -> Pod:
    meta = ObjectMeta("agent", "weft-system", creation_timestamp=at, labels={"app.kubernetes.io/name": app})
    return Pod(meta, PodSpec(node_name=node), PodStatus("Running", conditions=(PodCondition("Ready", ready),)))


@pytest.fixture
def statuses() -> TaintStore:
    made = TaintStore()
    made.update_from_response(raw(OURS, OTHER))
    return made


def test_a_node_with_a_ready_agent_loses_our_taint_and_no_other(statuses: TaintStore):
    assert statuses.update(Upsert(agent())) == NODE
    write = statuses.write(NODE, "")
    assert write is not None
    assert (write.method, write.path, write.body) == ("PATCH", "/api/v1/nodes/n1", PATCH)
    statuses.update_from_response(raw(OTHER))
    assert statuses.write(NODE, "") is None


@pytest.mark.parametrize(
    "pod",
    [
        agent(ready="False"),
        agent(ready="Unknown"),
        agent(node="n2"),
        agent(at="2026-01-01T09:59:59Z"),
        agent(app="weft-waypoint"),
    ],
    ids=["not ready", "not known to be", "another node's", "a former node's", "a waypoint"],
)
def test_a_node_without_a_ready_agent_waits(pod: Pod, statuses: TaintStore):
    statuses.update(Upsert(pod))
    assert statuses.write(NODE, "") is None


def test_an_agent_that_went_frees_nobody(statuses: TaintStore):
    statuses.update(Upsert(agent()))
    statuses.update(Delete(agent().key))
    assert statuses.write(NODE, "") is None


def test_nodes_come_and_go(statuses: TaintStore):
    (nodes, _) = taint_collections()
    (second,) = nodes.read(raw(OURS, name="n2"), "nodes/n2")  # type: ignore[misc]
    statuses.update(Upsert(agent(node="n2")))
    assert statuses.write(Key("Node", "", "n2"), "") is None
    assert statuses.update(Upsert(second)) == Key("Node", "", "n2")
    assert statuses.targets == {NODE, Key("Node", "", "n2")}
    assert statuses.write(Key("Node", "", "n2"), "") is not None
    statuses.update(Delete(Key("Node", "", "n2")))
    statuses.forget(NODE)
    assert (statuses.targets, statuses.path(NODE)) == (set(), None)


def test_a_node_that_cannot_be_read_is_named():
    (nodes, _) = taint_collections()
    found = nodes.read(b'{"metadata":{"name":"n1"},"spec":{"taints":7}}', "nodes/n1")
    assert isinstance(found, Problem)
    assert str(found).startswith("nodes/n1: Node: $: Expected `array | null`, got `int`")


def test_what_is_listed_is_what_the_ledger_takes():
    nodes, agents = taint_collections()
    assert {nodes.kind, agents.kind} == KINDS
    assert nodes.path("v1") == "/api/v1/nodes"
    assert agents.path("v1") == "/api/v1/namespaces/weft-system/pods"
    assert agents.query == {"labelSelector": "app.kubernetes.io/name=weft-agent"}
