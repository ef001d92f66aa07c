"""The node's pods are known without a walk over everything that was made of Services and Routes."""

from collections.abc import ValuesView
from typing import Any

from core_node import POD, TEXT, upserts

from agent.model.change import Delete, Upsert
from agent.node.change_queue import Intake
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options


class Unwalked(dict[Any, Any]):
    """Nobody may go through all of it."""

    def values(self) -> ValuesView[Any]:
        raise AssertionError("walked through")


def test_a_pod_that_comes_or_goes_walks_through_nothing() -> None:
    translator = Translator(Store(), Options("here"))
    intake = Intake(translator)
    intake.put(upserts(TEXT))
    while intake.enrol(0.0) or intake.behind:
        intake.advance()
    assert (len(intake.fragments) > 1, intake.pods) == (True, {})
    intake.fragments, translator.fragments = Unwalked(intake.fragments), Unwalked(translator.fragments)
    intake.put([Upsert(POD)])
    assert intake.enrol(0.0)
    assert list(intake.pods) == [POD.cgroup_id]
    intake.put([Delete(POD.key)])
    assert intake.enrol(0.0)
    assert intake.pods == {}
