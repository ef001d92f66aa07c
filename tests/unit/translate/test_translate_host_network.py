"""Pods on the host's network: no waypoint can know them by address, so they go no deeper than l4, and it is said."""

import pytest

from agent.ir.tables import Mode
from agent.model.change import Upsert
from agent.model.core import Pod, PodIP, PodSpec, PodStatus
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.translate import namespace


@pytest.mark.parametrize(
    ("label", "on_host", "mode", "l4_only"),
    [
        ("l7", True, Mode.L4, True),
        ("l7", False, Mode.L7, False),
        ("l4", True, Mode.L4, True),
        ("l4", False, Mode.L4, False),
        ("none", True, Mode.NONE, False),
    ],
)
def test_a_pod_on_the_host_s_network_is_l4_only(label: str, on_host: bool, mode: Mode, l4_only: bool) -> None:
    status = PodStatus("Running", pod_ips=(PodIP("192.0.2.1"),))
    pod = Pod(ObjectMeta("p", "app", "uid"), PodSpec("here", host_network=on_host), status)
    translator = Translator(Store(), Options("here"))
    translator.update([Upsert(namespace("app", label)), Upsert(pod), Upsert(PodCgroup("uid", 900))])
    (output,) = (item for item in translator.outputs.values() if item.pods)
    plan = output.pods[900]
    assert (plan.mode, plan.l4_only, plan.addresses) == (mode, l4_only, () if on_host else ("192.0.2.1",))
    assert any("hostNetwork" in warning for warning in output.warnings) is (on_host and label == "l7")
