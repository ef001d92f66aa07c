"""The attacks of hostile namespaces, whatever is drawn: each reaches its bound, as far as translation says so.

`make test-hostile` has them in a lab; those on what namespaces share reach theirs only there.
"""

import json
from collections.abc import Iterator

import pytest

from agent.internal_errors import InternalErrors
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Problem, Upsert
from agent.model.facts import PodCgroup
from agent.node.status import routes
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support import TESTS
from support.attacks import CLASSES, Attack, round_of_attacks
from support.attacks.attacker import Object
from support.mutations import good
from support.node.lab_handle import ECHO_TO_V1

ADDRESS = "10.96.0.77"
# Fixed, so that a run on another day tries the same.
SEED, ROUNDS = 1, 20


def victim() -> Iterator[Object]:
    """The objects of the lab, with addresses, and a client."""
    for path in (TESTS / "node" / "routes.yaml", ECHO_TO_V1):
        for document in split(path.read_text(), is_json=False):
            if document.value["kind"] == "Service":
                document.value["spec"].setdefault("clusterIP", ADDRESS)
            yield document.value
    yield good("Pod", "client")


def status(attack: Attack) -> Object:
    """The parts of `weft status` that translation decides, with the objects of an attack."""
    changes: list[Change] = [Upsert(PodCgroup("client", 7))]
    problems = []
    items = json.loads(attack.manifest.replace("VICTIM", ADDRESS))["items"]
    for found in (found for item in (*victim(), *items) for found in decode(item, "here")):
        if isinstance(found, Problem):
            problems.append(str(found))
        else:
            changes.append(Upsert(found))
    translator = Translator(Store(), Options("here"))
    translator.update(changes)
    outputs = translator.outputs.values()
    return {
        "routes": routes(outputs, {}, InternalErrors()),
        "warnings": [warning for output in outputs for warning in output.warnings],
        "problems": problems,
        "failures": {},
    }


@pytest.mark.parametrize("number", range(ROUNDS))
def test_each_attack_of_a_round_reaches_its_bound(number: int) -> None:
    attacks = round_of_attacks(SEED, number)[-len(CLASSES) :]
    assert [attack.name for attack in attacks if not attack.reported(status(attack))] == []


def test_a_seed_repeats_its_attacks() -> None:
    first, again = (round_of_attacks(SEED, 0) for _ in range(2))
    assert [attack.manifest for attack in first] == [attack.manifest for attack in again]
    assert len({attack.name for number in range(3) for attack in round_of_attacks(SEED, number)}) >= 25
