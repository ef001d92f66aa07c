"""Kernels without bpf_set_retval: who is refused is refused all the same. The programs are told to do without it."""

from collections.abc import Iterator
from errno import ECONNREFUSED

import pytest
from datapath_node import SOURCES, Node, Pod, load
from decision_cases import CASES, ERRNO, Case, rows_for

pytestmark = pytest.mark.bpf


@pytest.fixture(scope="module")
def without_helper(node: Node) -> Iterator[None]:
    """The node's programs do without the helper, and then with it again."""
    load(node.pins, node.kubepods, without=frozenset(["bpf_set_retval"]))
    yield
    load(node.pins, node.kubepods, SOURCES)


@pytest.mark.parametrize("case", [case for case in CASES if case.reason in ERRNO], ids=str)
def test_a_refused_call_fails(case: Case, without_helper: None, node: Node, pod: Pod) -> None:
    rows_for(case, pod.cgroup_id, node.levels).write(node.kernel)
    before = node.kernel.counters()
    address = f"::ffff:{case.destination[0]}" if case.family == "mapped" else case.destination[0]
    call = {"family": case.family, "protocol": case.protocol, "address": address, "port": case.destination[1]}
    answer = pod.call(call=case.call, patience=0.2, **call)
    silent = case.call == "sendto" and ERRNO[case.reason] == ECONNREFUSED
    assert answer == {"errno": "timeout" if silent else ERRNO[case.reason]}
    assert node.kernel.counters()[case.reason] - before[case.reason] == 1
