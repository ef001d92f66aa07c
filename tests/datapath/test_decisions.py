"""The same table of cases, read by the oracle and by the kernel through real sockets."""

from fractions import Fraction

import pytest

from agent.ir.tables import Protocol, address_bytes
from agent.kernel.oracle.decide import decide
from support.datapath.decision_cases import CASES, ERRNO, REWRITTEN, Case, decisions, rows_for, written
from support.datapath.node import Node, Pod


@pytest.mark.parametrize("case", CASES, ids=str)
def test_oracle_decides(case: Case) -> None:
    address, port = case.destination
    tables = rows_for(case, 55, (3, 4)).encoded()
    verdict = decide(tables, [1, 2, 3, 4, 55, 6], address_bytes(address), port, Protocol[case.protocol])
    assert verdict.reason == case.reason
    assert list(verdict.shares.values()) == [Fraction(1)]
    target = (address_bytes(case.reached[0]), case.reached[1])
    assert verdict.candidates == (frozenset([target]) if case.reason in REWRITTEN else frozenset())


@pytest.mark.bpf
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_decides(case: Case, node: Node, pod: Pod) -> None:
    rows_for(case, pod.cgroup_id, node.levels).write(node.kernel)
    before = node.kernel.counters()
    answer = pod.call(
        call=case.call, family=case.family, protocol=case.protocol, address=written(case), port=case.destination[1]
    )
    after = node.kernel.counters()
    assert answer.get("errno") == ERRNO.get(case.reason)
    assert after[case.reason] - before[case.reason] == decisions(case)
    if "errno" not in answer:
        assert answer["reached"] == list(case.reached)
        seen = [answer[name] for name in ("peer", "source") if name in answer]
        assert seen == [[written(case), case.destination[1]]] * len(seen)
