"""weft's own pods: never enrolled, and one of them may do what no other may."""

import pytest

from agent.ir.tables import Mode, PodFlag
from agent.model.change import Upsert
from agent.model.core import Pod, PodSpec, PodStatus
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.translate import namespace


@pytest.mark.parametrize(
    ("space", "name", "flags", "allow_listed"),
    [
        ("weft-system", "weft-agent", PodFlag.AGENT, True),
        ("weft-system", "weft-waypoint", PodFlag.NONE, False),
        ("weft-system", "weft-controller", PodFlag.NONE, False),
        ("shop", "weft-agent", PodFlag.NONE, False),
    ],
)
def test_the_agent_alone_may_dial_the_waypoint(space: str, name: str, flags: PodFlag, allow_listed: bool):
    translator = Translator(Store(), Options("here"))
    meta = ObjectMeta("own", space, "u-1", labels={"app.kubernetes.io/name": name})
    pod = Pod(meta, PodSpec("here"), PodStatus("Running", "10.1.0.9"))
    translator.update([Upsert(namespace("weft-system", "l7")), Upsert(pod), Upsert(PodCgroup("u-1", 7))])
    (plan,) = [plan for output in translator.outputs.values() for plan in output.pods.values()]
    assert (plan.mode, plan.flags, plan.allow_listed) == (Mode.NONE, flags, allow_listed)
