"""Random tables, clients and destinations: what the kernel does is among what the oracle says, and never anything else.

A tenth of a million by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it a million.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.ir.authorization import ANY_CLIENT, DestinationRow, GrantKey, PeerRow
from agent.ir.tables import (
    ANY_NAMESPACE,
    OTHER_WAYPOINTS,
    UNSPECIFIED,
    Action,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodFlag,
    PodRow,
    Protocol,
    Reason,
    ServiceRow,
    Slot,
    UnknownPodPolicy,
    address_bytes,
    address_text,
)
from agent.kernel.oracle.decide import decide
from agent.kernel.oracle.verdict import Outcome
from support.datapath.decision_cases import ERRNO, Rows
from support.datapath.node import Node, Pod

pytestmark = pytest.mark.bpf
TUPLES = int(1_000_000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
PODS, QUESTIONS = 4, 200
# Each occurs in some tables only, one of them in every sixth: few tuples may be of tables that have none.
REASONS = {
    *ERRNO,
    Reason.FORWARDED,
    Reason.TO_WAYPOINT,
    Reason.PASSED,
    Reason.NO_FRONTEND,
    Reason.NOT_ENROLLED,
}
MOST_TUPLES = TUPLES + 100 * PODS * QUESTIONS
INDICES, SLOTS, LENGTH = 12, 48, 8
FRONTENDS = {"4": [f"10.97.0.{n}" for n in range(1, 7)], "6": [f"fd00:97::{n}" for n in range(1, 4)]}
BACKENDS = {"4": [f"10.2.0.{n}" for n in range(1, 17)], "6": [f"fd00:2::{n:x}" for n in range(1, 9)]}
WAYPOINT = {"4": "10.98.0.1", "6": "fd00:98::1"}
NAMESPACES = (ANY_NAMESPACE, 5, 6)


@dataclass(frozen=True)
class Destination:
    """What a client dials."""

    family: str
    protocol: str
    address: str
    port: int

    @property
    def written(self) -> tuple[str, str, str, int]:
        address = f"::ffff:{self.address}" if self.family == "mapped" else self.address
        return self.family, self.protocol, address, self.port


@pytest.fixture(scope="module")
def clients(node: Node) -> Iterator[list[Pod]]:
    """Pods in a namespace where every address is local, so that a socket's own address tells its peer's."""
    addresses = [*FRONTENDS.values(), *BACKENDS.values(), WAYPOINT.values()]
    for address in (address for destination in addresses for address in destination):
        width = ("128", "nodad") if ":" in address else ("32",)
        command = ["ip", "-n", node.name, "address", "add", f"{address}/{width[0]}", "dev", "lo", *width[1:]]
        subprocess.run(command, check=True)
    pods = [node.new_pod() for _ in range(PODS)]
    yield pods
    for pod in pods:
        pod.close()


def random_slot(choose: random.Random) -> Slot:
    kind = choose.choice(("4", "4", "4", "6", "refused", "unwritten"))
    alias, threshold = choose.randrange(LENGTH), choose.choice((0, 1 << 32, choose.randrange(1 << 32)))
    if kind == "unwritten":
        return Slot(UNSPECIFIED, 0, False, alias, threshold)
    family = "6" if kind == "6" else "4"
    address = address_bytes(choose.choice((*BACKENDS[family], WAYPOINT[family])))
    return Slot(address, choose.randrange(1, 65536), kind == "refused", alias, threshold)


def random_action(choose: random.Random) -> FrontendAction:
    action = choose.choice(
        (Action.PASS, Action.FORWARD, Action.FORWARD, Action.FORWARD, Action.WAYPOINT, Action.REJECT)
    )
    if action is Action.REJECT:
        return FrontendAction(action, choose.choice((Reason.NO_BACKEND, Reason.WAYPOINT_LOST, 4000)))
    if action is Action.FORWARD:
        return FrontendAction(action, choose.randrange(SLOTS - LENGTH), choose.randrange(LENGTH + 1))
    return FrontendAction(action)


def random_pod(choose: random.Random) -> PodRow:
    flags = choose.choice((PodFlag.NONE, PodFlag.CONSUMER_ROUTES, PodFlag.L4_ONLY))
    return PodRow(choose.choice(NAMESPACES[1:]), choose.choice((Mode.NONE, Mode.L4, Mode.L4, Mode.L7)), flags, 9)


def random_rows(choose: random.Random, cgroups: list[int], levels: tuple[int, int]) -> Rows:
    addresses = [address_bytes(address) for family in FRONTENDS.values() for address in family]
    keys = {
        FrontendKey(
            choose.choice(NAMESPACES), choose.choice(addresses), choose.choice((80, 81)), choose.choice(list(Protocol))
        )
        for _ in range(4 * INDICES)
    }
    waypoint = [address_bytes(WAYPOINT[family]) if choose.random() < 0.8 else UNSPECIFIED for family in "46"]
    return Rows(
        Config(*waypoint, *levels, choose.choice(list(UnknownPodPolicy)), other_waypoints=random_beside(choose)),
        {cgroup: random_pod(choose) for cgroup in cgroups if choose.random() < 0.9},
        {key: choose.randrange(INDICES) for key in sorted(keys)},
        {
            number: action
            for number in range(2 * INDICES)
            if (action := random_action(choose)) != FrontendAction(Action.PASS)
        },
        {index: ServiceRow(1000 + index, choose.choice((0, 15001))) for index in range(INDICES)},
        {number: random_slot(choose) for number in range(SLOTS)},
        *random_policies(choose, cgroups),
    )


def random_policies(
    choose: random.Random, cgroups: list[int]
) -> tuple[dict[bytes, DestinationRow], dict[GrantKey, bool], dict[int, PeerRow]]:
    """Protected backends and frontends, what their policies admit, and identities of most clients; sometimes none."""
    if choose.random() < 0.3:
        return {}, {}, {}
    addresses = [*BACKENDS["4"], *BACKENDS["6"], *FRONTENDS["4"]]
    chosen = choose.sample(addresses, choose.randrange(1, len(addresses)))
    grants = {
        GrantKey(choose.randrange(1, 4), choose.choice((ANY_CLIENT, 11, 12, 21, 22)), choose.choice((0, 80, 81))): True
        for _ in range(choose.randrange(6))
    }
    identities = {
        cgroup: PeerRow(choose.choice((11, 12)), choose.choice((21, 22))) for cgroup in cgroups if choose.random() < 0.9
    }
    return {address_bytes(it): DestinationRow(choose.randrange(1, 4), 9) for it in chosen}, grants, identities


def random_beside(choose: random.Random) -> tuple[bytes, ...]:
    """Waypoints that no client is sent to: some of the addresses that slots name."""
    addresses = [*BACKENDS["4"], *BACKENDS["6"]]
    return tuple(address_bytes(choose.choice(addresses)) for _ in range(choose.randrange(OTHER_WAYPOINTS + 1)))


def random_question(choose: random.Random) -> Destination:
    family = choose.choice(("4", "6", "mapped"))
    ip = "6" if family == "6" else "4"
    address = choose.choice((*FRONTENDS[ip], *FRONTENDS[ip], BACKENDS[ip][0], WAYPOINT[ip]))
    return Destination(family, choose.choice(("TCP", "UDP")), address, choose.choice((80, 81)))


def observable(outcome: Outcome, question: Destination) -> int | str:
    """What a client sees of an outcome: an errno, or the address that it reaches."""
    if outcome.reason in ERRNO:
        return ERRNO[outcome.reason]
    reached = address_text(outcome.target[0]) if outcome.target else question.address
    return f"::ffff:{reached}" if question.family == "mapped" else reached


def test_the_kernel_does_what_the_oracle_says(node: Node, clients: list[Pod]) -> None:
    choose, decided, seen = random.Random(os.urandom(8)), 0, set()
    while decided < TUPLES or (REASONS - seen and decided < MOST_TUPLES):
        seed = choose.getrandbits(64)
        choose.seed(seed)
        rows = random_rows(choose, [pod.cgroup_id for pod in clients], node.levels)
        rows.write(node.kernel)
        encoded = rows.encoded()
        questions = [[random_question(choose) for _ in range(QUESTIONS)] for _ in clients]
        for pod, mine in zip(clients, questions, strict=True):
            pod.start(call="probe", family="4", protocol="UDP", destinations=[question.written for question in mine])
        for pod, mine in zip(clients, questions, strict=True):
            ids, verdicts = node.cgroup_ids(pod), {}
            for question, went in zip(mine, pod.finish()[0]["went"], strict=True):
                if question not in verdicts:
                    destination = address_bytes(question.address), question.port
                    verdicts[question] = decide(encoded, ids, *destination, Protocol[question.protocol])
                outcomes = verdicts[question].shares
                assert went in {observable(outcome, question) for outcome in outcomes}, (seed, question, outcomes)
                seen |= {outcome.reason for outcome in outcomes}
                decided += 1
    print(f"{decided} tuples, {len(seen)} reasons")
    assert seen >= REASONS
