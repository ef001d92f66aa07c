"""Weights, asked of real sockets: counts must lie within two-sided bounds at 1e-6."""

from collections import Counter
from errno import ECONNREFUSED
from fractions import Fraction
from math import log, sqrt

import pytest

from agent.ir.tables import Action, FrontendAction, Protocol, Reason, SocketAddress, address_bytes, address_text
from agent.kernel.oracle.decide import decide
from agent.translate.slots import alias_table
from support.datapath.decision_cases import Case, Rows, rows_for
from support.datapath.node import BACKEND_PORT, BACKENDS, VIP, VIP_PORT, Node, Pod

pytestmark = pytest.mark.bpf
BASE = 32
FIRST, SECOND, THIRD = ((address_bytes(address), BACKEND_PORT) for address in BACKENDS["4"])
WEIGHTS: dict[str, tuple[int, dict[SocketAddress | None, Fraction | int]]] = {
    "1:1": (10_000, {FIRST: 1, SECOND: 1}),
    "9:1": (10_000, {FIRST: 9, SECOND: 1}),
    "999:1": (100_000, {FIRST: 999, SECOND: 1}),
    "1:missing": (10_000, {FIRST: 1, None: 1}),
    "5:0:3": (10_000, {FIRST: 5, SECOND: 0, THIRD: 3}),
}


def bound(probability: float, times: int) -> float:
    """How far a count may be from its mean: Bernstein's inequality for a chance of 1e-6, both sides."""
    tail = log(2 / 1e-6)
    return tail / 3 + sqrt(tail * tail / 9 + 2 * times * probability * (1 - probability) * tail)


def rows(weights: dict[SocketAddress | None, Fraction | int], protocol: str, node: Node, pod: Pod) -> Rows:
    slots = alias_table(weights)
    case = Case(
        "weights", Reason.FORWARDED, actions=(FrontendAction(Action.FORWARD, BASE, len(slots)),) * 2, protocol=protocol
    )
    found = rows_for(case, pod.cgroup_id, node.levels)
    found.slots.update(enumerate(slots, BASE))
    return found


def connects(pod: Pod, protocol: str, times: int) -> Counter[int | str]:
    """Where so many connects go: an address, or an errno."""
    destinations = [("4", protocol, VIP["4"], VIP_PORT)] * times
    return Counter(pod.call(call="probe", family="4", protocol=protocol, destinations=destinations)["went"])


def datagrams(pod: Pod, protocol: str, times: int) -> Counter[int | str]:
    """The same for datagrams, each from a socket of its own."""
    answers = pod.calls(call="sendto", family="4", protocol=protocol, address=VIP["4"], port=VIP_PORT, times=times)
    return Counter(answer.get("errno") or answer["reached"][0] for answer in answers)


@pytest.mark.parametrize("split", WEIGHTS)
@pytest.mark.parametrize(
    ("protocol", "ask"), [("TCP", connects), ("UDP", connects), ("UDP", datagrams)], ids=["tcp", "udp", "unconnected"]
)
def test_shares(split: str, protocol: str, ask, node: Node, pod: Pod) -> None:
    times, weights = WEIGHTS[split]
    times = times if ask is connects else 2000
    tables = rows(weights, protocol, node, pod)
    tables.write(node.kernel)
    seen = ask(pod, protocol, times)
    total = sum(weights.values())
    for target, weight in weights.items():
        where = ECONNREFUSED if target is None else address_text(target[0])
        share = weight / total
        assert abs(seen.pop(where, 0) - times * share) <= (bound(share, times) if weight else 0)
    assert not seen
    verdict = decide(tables.encoded(), node.cgroup_ids(pod), address_bytes(VIP["4"]), VIP_PORT, Protocol[protocol])
    for outcome, share in verdict.shares.items():
        assert abs(share - Fraction(weights[outcome.target]) / total) < Fraction(1, 2**30)
