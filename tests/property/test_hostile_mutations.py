"""Good objects of every kind with anything in any place: they are decoded, translated and encoded, or refused with a
reason. Nothing is raised, and nothing is left when they are deleted.

A thousand sets of objects by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it ten thousand. `make fuzz` tries
more, and keeps what reaches new code.
"""

import json
import os
from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from agent.ir.resources import ResourceType
from support.mutations import Mutator, good_sets
from support.pipeline import run

SETS = int(10_000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
SEEDS = good_sets()
MUTATOR = Mutator(SEEDS)


def test_good_objects_are_decoded() -> None:
    assert all(all(run(items).decoded) for items in SEEDS)


def test_nothing_is_raised_whatever_is_written() -> None:
    counts: Counter[str | ResourceType] = Counter()

    @settings(max_examples=SETS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def each(random: Random) -> None:
        items = random.choice(SEEDS)
        for _ in range(random.randint(1, 5)):
            items = MUTATOR.mutate(items, random)
        note(json.dumps(items))
        result = run(items)
        counts.update({"taken": sum(result.decoded), "refused": result.decoded.count(False)})
        counts.update(result.kinds)

    each()
    print(dict(counts))
    assert counts["refused"] > SETS / 10
    assert counts["taken"] > SETS / 10
    # The runtime is made of all units together, and has nothing that an author writes but names of namespaces.
    kinds = [kind for kind in ResourceType if kind is not ResourceType.RUNTIME]
    assert all(counts[kind] for kind in kinds), "resources of every kind were encoded"
