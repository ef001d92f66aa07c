"""What hostile namespaces may create. Each class of attacks draws one from a seed: kinds, fields, numbers and sizes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random

from support.attacks import others, routes, shares
from support.attacks.attacker import Attacker, Object
from support.attacks.reported import Reported

Class = Callable[[Attacker], shares.Made]
# Whose objects keep the lab itself busy for tens of seconds: two of them in a round.
HEAVY: tuple[Class, ...] = (
    shares.slots_of_a_service,
    shares.configuration_of_services,
    shares.frontends,
    shares.configuration_of_a_service,
    shares.slots_of_services,
    shares.listeners,
)
HEAVY_AT_ONCE = 2
CLASSES: tuple[Class, ...] = (
    shares.large_route,
    shares.large_backend_filters,
    shares.routes_of_a_consumer,
    shares.long_texts,
    routes.costly_expressions,
    routes.many_expressions,
    routes.bad_expressions,
    routes.framing_headers,
    routes.unreadable_routes,
    routes.outside_the_schema,
    routes.parents_that_do_not_exist,
    routes.conflicts,
    routes.wrong_backends,
    routes.hostnames,
    others.endpoints_of_the_node,
    others.unknown_modes,
    others.unknown_policies,
    others.stolen_addresses,
    others.ignored_protocols,
    others.unreadable_objects,
)


@dataclass(frozen=True)
class Attack:
    """Objects, and whether `weft status` says that their bound is reached."""

    name: str
    objects: list[Object]
    reported: Reported

    @property
    def manifest(self) -> str:
        """The objects as a JSON list, which is YAML too."""
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": self.objects})


def round_of_attacks(seed: int, number: int) -> list[Attack]:
    """An attack of each class, of the heavy ones of some, each from a namespace of its own in any mode."""
    addresses = count()
    made = []
    first = number * HEAVY_AT_ONCE % len(HEAVY)
    for create in (*HEAVY[first : first + HEAVY_AT_ONCE], *CLASSES):
        name = create.__name__.replace("_", "-")
        random = Random(f"{seed} {number} {name}")
        attacker = Attacker(f"evil-{name}", random, addresses)
        mode = random.choice(("l7", "l7", "l4", "none", ""))
        labels = {"weft.dev/mode": mode} if mode else {}
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": attacker.namespace, "labels": labels}}
        objects, reported = create(attacker)
        made.append(Attack(name, [space, *objects], reported))
    return made
