"""Weights at the waypoint, 10 000 requests each: chance may go as far as it does once in a million."""

import json
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from agent.ir.http import BackendPort
from agent.model.routes import GRPCRouteMatch
from support.waypoint.ads import WAYPOINT
from support.waypoint.chance import bound
from support.waypoint.fixtures import WaypointNode, waypoint_node
from support.waypoint.rules import V1, V1_H2C, V2, any_path, rule, to

pytestmark = pytest.mark.node
TIMES = 10_000
MISSING = "missing"
SPLITS = [
    {"v1": 1, "v2": 1},
    {"v1": 90, "v2": 10},
    {"v1": 999, "v2": 1},
    {"v1": 0, "v2": 1},
    {"v1": 3, MISSING: 1},
    {"v1": 1, MISSING: 2, "v2": 3},
    {"v1": 1, MISSING: 0},
]
HTTP = {"v1": V1, "v2": V2, MISSING: None}
GRPC = {"v1": V1_H2C, "v2": BackendPort("app", "v2", 80, "h2c"), MISSING: None}
# A hundred calls at a time, all on one connection.
CALLER = """
import asyncio, collections, json, sys, grpc
from grpc import aio

async def main(target, times):
    counts, free = collections.Counter(), asyncio.Semaphore(100)

    async def call(method):
        async with free:
            try:
                counts[json.loads(await method(b"", timeout=60))["pod"]] += 1
            except grpc.RpcError as error:
                counts[error.code().name] += 1

    async with aio.insecure_channel(target) as channel:
        method = channel.unary_unary("/a.B/C")
        await asyncio.gather(*(call(method) for _ in range(times)))
    print(json.dumps(counts))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def check(counts: Counter[str], split: dict[str, int], refusal: str) -> None:
    """Every share is as it may be, and nobody else was asked."""
    assert counts.total() == TIMES
    total = sum(split.values())
    for name, weight in split.items():
        found = counts.pop(refusal if name == MISSING else name, 0)
        assert abs(found - TIMES * weight / total) <= (bound(weight / total, TIMES) if weight else 0), (name, found)
    assert not counts.total(), counts


def name_of(split: dict[str, int]) -> str:
    return ",".join(f"{name}={weight}" for name, weight in split.items())


@pytest.mark.parametrize("split", SPLITS, ids=name_of)
def test_http(node: WaypointNode, split: dict[str, int]) -> None:
    port = node.serve(rule(any_path(), to(*map(HTTP.get, split), weights=split.values())))
    check(Counter(node.pods(port, TIMES)), split, "500")


@pytest.mark.parametrize("split", [SPLITS[1], SPLITS[5]], ids=name_of)
def test_grpc_on_one_connection(node: WaypointNode, split: dict[str, int]) -> None:
    name = node.add([rule(GRPCRouteMatch(), to(*map(GRPC.get, split), weights=split.values()))], grpc=True)
    port = node.serving(name)
    connections = f"http.{name.replace(':', '_')}.downstream_cx_total"
    before = node.statistic(connections)
    counts = Counter(json.loads(node.run(sys.executable, "-c", CALLER, f"{WAYPOINT}:{port}", str(TIMES))))
    assert node.statistic(connections) == before + 1
    check(counts, split, "UNAVAILABLE")
