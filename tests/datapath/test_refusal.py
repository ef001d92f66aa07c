"""Linux 5.8, where weft needs three features fewer than it knows: the programs decide the same, and who is refused is
refused all the same."""

import json
import subprocess
from collections.abc import Iterator
from errno import ECONNREFUSED

import pytest

from agent.kernel.links import ensure, list_links
from agent.kernel.programs import Pins
from support.datapath.decision_cases import CASES, ERRNO, Case, decisions, rows_for, written
from support.datapath.node import Node, Pod, other_installation
from support.datapath.older_kernel import LINUX_5_8, loader

pytestmark = [pytest.mark.bpf, pytest.mark.compiles]
# All that are refused, and of the others one for each way to a reason.
SOME = {(case.reason, case.family, case.protocol, case.call): case for case in CASES}.values()
CHOSEN = [case for case in CASES if case.reason in ERRNO or case in SOME]


@pytest.fixture(scope="module")
def older(node: Node) -> Iterator[Node]:
    """A node with the programs of such a kernel."""
    with other_installation(node, "older") as (pins, kubepods):
        shown = subprocess.run(loader(LINUX_5_8, pins, kubepods), check=True, capture_output=True, text=True)
        prepared = json.loads(shown.stdout)
        assert prepared["missing"] == ["bpf_set_retval", "bpf_skc_to_tcp_sock", "sk_lookup"]
        ensure(pins, kubepods, prepared["version"])
        assert not (Pins(pins).programs / prepared["version"] / "weft_guard").exists()
        made = Node(node.name, pins, kubepods, prepared["version"])
        yield made
        made.kernel.close()


@pytest.fixture(scope="module")
def pod(older: Node) -> Iterator[Pod]:
    made = older.new_pod()
    yield made
    made.close()


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_a_call_ends_as_on_a_newer_kernel(case: Case, older: Node, pod: Pod) -> None:
    """But for datagrams of unconnected sockets, which are lost rather than refused."""
    rows_for(case, pod.cgroup_id, older.levels).write(older.kernel)
    before = older.kernel.counters()
    call = {"family": case.family, "protocol": case.protocol, "address": written(case), "port": case.destination[1]}
    answer = pod.call(call=case.call, **call, **({"patience": 0.2} if case.reason in ERRNO else {}))
    silent = case.call == "sendto" and ERRNO.get(case.reason) == ECONNREFUSED
    assert answer.get("errno") == ("timeout" if silent else ERRNO.get(case.reason))
    assert older.kernel.counters()[case.reason] - before[case.reason] == decisions(case)
    if "errno" not in answer:
        assert answer["reached"] == list(case.reached)


def test_every_program_is_there(older: Node) -> None:
    assert len(list_links(older.pins)) == len({link.program_id for link in list_links(older.pins)}) == 9
