"""Pods whose sockets the node's kernel does not see: told so, and not counted among those in the mesh."""

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode
from agent.model.change import Delete, Upsert
from agent.model.core import Pod, PodSpec, PodStatus, RuntimeClass
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.node.status import pod_counts, pods
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.translate import namespace


def translator(runtime_class: str, *runtimes: str) -> Translator:
    options = Options("here", unsupported_runtimes=runtimes) if runtimes else Options("here")
    made = Translator(Store(), options)
    spec = PodSpec("here", runtime_class_name=runtime_class)
    pod = Pod(ObjectMeta("web", "app", "u-1"), spec, PodStatus("Running", "10.1.0.9"))
    made.update([Upsert(namespace("app", "l4")), Upsert(pod), Upsert(PodCgroup("u-1", 7))])
    return made


def plan(made: Translator) -> PodPlan:
    (found,) = [plan for output in made.outputs.values() for plan in output.pods.values()]
    return found


@pytest.mark.parametrize(
    ("runtime_class", "runtimes", "mode"),
    [
        ("", (), Mode.L4),
        ("nvidia", (), Mode.L4),
        ("gvisor", (), Mode.NONE),
        ("kata-clh", (), Mode.NONE),
        ("firecracker", ("firecracker",), Mode.NONE),
        ("gvisor", ("firecracker",), Mode.L4),
    ],
)
def test_the_class_s_name_tells_where_there_is_no_more(runtime_class: str, runtimes: tuple[str, ...], mode: Mode):
    found = plan(translator(runtime_class, *runtimes))
    assert (found.mode, found.supported) == (mode, mode is not Mode.NONE)


def test_the_handler_tells_and_its_pods_follow_it():
    made = translator("fast")
    assert plan(made).mode is Mode.L4
    runtime = RuntimeClass(ObjectMeta("fast"), "kata-qemu")
    made.update([Upsert(runtime)])
    assert (plan(made).mode, plan(made).supported) == (Mode.NONE, False)
    assert plan(made).mode_reason == (
        "Unsupported, not enrolled: the kernel does not see the sockets of RuntimeClass fast, handler kata-qemu"
    )
    made.update([Delete(runtime.key)])
    assert (plan(made).mode, plan(made).supported) == (Mode.L4, True)


def test_who_is_not_supported_is_counted_apart():
    plans = [plan(translator(name)) for name in ("gvisor", "kata", "")]
    assert pod_counts(plans) == {"none": 0, "l4": 1, "l4 only": 0, "l7": 0, "unsupported": 2}
    (shown,) = pods(translator("gvisor").outputs.values(), InternalErrors())
    assert (shown["mode"], shown["supported"]) == ("none", False)
