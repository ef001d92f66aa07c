"""Weights, asked of real sockets: counts must lie within binomial bounds at 1e-6."""

from collections import Counter
from errno import ECONNREFUSED
from math import log, sqrt

import pytest
from datapath_node import BACKENDS, VIP, VIP_PORT, Node, Pod
from decision_cases import Case, Rows, rows_for, slot

from agent.kernel.oracle import decide
from agent.plan.tables import Action, Protocol, Reason, Slot, Word, address_bytes

pytestmark = pytest.mark.bpf
TIMES = 2000
BASE = 32


def bound(probability: float, times: int) -> float:
    """How far a count may be from its mean: Bernstein's inequality for a chance of 1e-6, both sides."""
    tail = log(2 / 1e-6)
    return tail / 3 + sqrt(tail * tail / 9 + 2 * times * probability * (1 - probability) * tail)


def nine_to_one() -> dict[int, Slot]:
    """Two columns: the second keeps a fifth of its draws and gives the rest to the first."""
    first, second = (slot(address) for address in BACKENDS["4"][:2])
    return {BASE: first, BASE + 1: Slot(second.address, second.port, False, 0, (1 << 32) // 5)}


def one_to_missing() -> dict[int, Slot]:
    """Half of the weight belongs to a backend that does not exist."""
    first = slot(BACKENDS["4"][0])
    return {BASE: first, BASE + 1: Slot(first.address, 0, True, 1, 1 << 32)}


def rows(slots: dict[int, Slot], protocol: str, node: Node, pod: Pod) -> Rows:
    case = Case("weights", Reason.FORWARDED, words=(Word(Action.FORWARD, BASE, 2),) * 2, protocol=protocol)
    found = rows_for(case, pod.cgroup_id, node.levels)
    found.slots.update(slots)
    return found


@pytest.mark.parametrize("slots", [nine_to_one(), one_to_missing()], ids=["9:1", "1:missing"])
@pytest.mark.parametrize(("protocol", "call"), [("TCP", "connect"), ("UDP", "connect"), ("UDP", "sendto")])
def test_shares(slots: dict[int, Slot], protocol: str, call: str, node: Node, pod: Pod) -> None:
    tables = rows(slots, protocol, node, pod)
    tables.write(node.kernel)
    answers = pod.calls(call=call, family="4", protocol=protocol, address=VIP["4"], port=VIP_PORT, times=TIMES)
    seen = Counter((answer.get("errno"), tuple(answer.get("reached", ()))) for answer in answers)
    verdict = decide(tables.encoded(), node.cgroup_ids(pod), address_bytes(VIP["4"]), VIP_PORT, Protocol[protocol])
    expected = {}
    for outcome, share in verdict.shares.items():
        names = {address_bytes(address): address for address in BACKENDS["4"]}
        what = (None, (names[outcome.target[0]], outcome.target[1])) if outcome.target else (ECONNREFUSED, ())
        expected[what] = float(share)
    assert seen.keys() == expected.keys()
    for what, share in expected.items():
        assert abs(seen[what] - TIMES * share) <= bound(share, TIMES)
