"""Good sets of objects with anything in any place: Envoy takes whatever is made of what is accepted.

A hundred sets by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it a thousand, of ten thousand objects.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from agent.ir.resources import ResourceName, ResourceType
from support.mutations import Mutator, good_sets
from support.pipeline import run
from support.waypoint.fixtures import WaypointNode, wait_for, waypoint_node

pytestmark = pytest.mark.node
SETS = int(1000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
FIRST_PORT = 20_000


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


def rejected(
    node: WaypointNode, items: list[Any], ports: dict[str, int], seen: Counter[ResourceType]
) -> dict[ResourceName, str]:
    """What Envoy rejects of a set of objects. It is sent nothing that no listener needs. A listener keeps its port, as
    on a node: no other one gets it.
    """
    made = run(items)
    needed = frozenset[ResourceName]().union(*made.needs.values())
    seen.update(name.kind for name in needed)
    for name in sorted(made.needs):
        ports.setdefault(name, FIRST_PORT + len(ports))
    node.ads_server.publish({name: made.sources[name] for name in needed}, ports)
    server = node.ads_server.server
    wait_for("an answer to each", lambda: server.acknowledged() | server.rejected.keys() >= needed)
    return dict(server.rejected)


def test_envoy_takes_what_is_made_of_mutated_objects(node: WaypointNode) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    seeds, random, seen, objects = good_sets(), Random(seed), Counter[ResourceType](), 0
    ports: dict[str, int] = {}
    mutator = Mutator(seeds)
    for _ in range(SETS):
        items = random.choice(seeds)
        for _ in range(random.randint(1, 5)):
            items = mutator.mutate(items, random)
        objects += len(items)
        assert rejected(node, items, ports, seen) == {}, f"seed {seed}: {json.dumps(items)}"
    print(f"seed {seed}: {objects} objects; {dict(seen)}")
    # Which namespaces have an access log is no part of the translation.
    assert all(seen[kind] for kind in ResourceType if kind is not ResourceType.RUNTIME)
