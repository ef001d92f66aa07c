"""The node's pods are known without a walk over everything that was made of Services and Routes."""

from collections.abc import ValuesView
from typing import Any

from agent.datapath.desired_authorization import DesiredAuthorization
from agent.model.authorization import UndecodableAuthorizationPolicy
from agent.model.change import Delete, Upsert
from agent.node.change_queue import ChangeQueue
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.fakes.node import POD, TEXT, upserts
from support.policies import POLICY, policy


class Unwalked(dict[Any, Any]):
    """Nobody may go through all of it."""

    def values(self) -> ValuesView[Any]:
        raise AssertionError("walked through")


def test_a_pod_that_comes_or_goes_walks_through_nothing() -> None:
    translator = Translator(Store(), Options("here"))
    queue = ChangeQueue(translator)
    queue.put(upserts(TEXT))
    while queue.enrol(0.0) or queue.has_pending:
        queue.advance()
    assert (len(queue.outputs) > 1, queue.pods) == (True, {})
    queue.outputs, translator.outputs = Unwalked(queue.outputs), Unwalked(translator.outputs)
    queue.put([Upsert(POD)])
    assert queue.enrol(0.0)
    assert list(queue.pods) == [POD.cgroup_id]
    queue.put([Delete(POD.key)])
    assert queue.enrol(0.0)
    assert queue.pods == {}


def test_a_pod_has_its_policies_before_anything_else_is_worked_on() -> None:
    """Also the one that cannot be decoded: without it the pod would admit every client meanwhile."""
    queue = ChangeQueue(Translator(Store(), Options("here")))
    decoded, undecodable = (
        policy(name="a"),
        UndecodableAuthorizationPolicy(POLICY._replace(name="b"), 1, None, "$", "is bad"),
    )
    queue.put([*upserts(TEXT), Upsert(POD), Upsert(decoded), Upsert(undecodable)])
    queue.enrol(0.0)
    (server,) = (plan for output in queue.outputs.values() for plan in output.servers.values())
    assert [key.name for key in server.policies] == ["a", "b"]


def test_the_versions_of_policies_are_those_by_which_pods_are_translated() -> None:
    desired = DesiredAuthorization()
    queue = ChangeQueue(Translator(Store(), Options("here")), authorization=desired)
    queue.put([*upserts(TEXT), Upsert(POD), Upsert(policy(name="a"))])
    before = desired.versions.digest
    queue.enrol(0.0)
    assert desired.versions.version(POLICY._replace(name="a")) is not None
    assert desired.servers
    queue.put([Delete(POLICY._replace(name="a"))])
    assert desired.servers, "not yet"
    queue.enrol(0.0)
    assert (desired.servers, desired.versions.digest) == ({}, before)
