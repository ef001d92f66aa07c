"""Sets of objects as parsed JSON, and changes of them: good objects with anything in any place.

Most changes keep the type of a value, or take a value from the same field of another set, so that many objects are
still decoded.
"""

import copy
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from agent.kube.decode import KINDS
from agent.kube.documents import split
from support import TESTS
from support.valid_objects import BODIES

Json = dict[str, Any]
Position = tuple[Any, Any]
"""A container and one of its keys."""
Pattern = tuple[str, ...]
"""The kind of an object and a path in it; indices of lists are `*`."""

MAX_OBJECTS = 24
MAX_REPEATS = 20
NAMES = ("web", "good", "a", "", "..", "a/b", "x" * 300)
WORDS = (
    *(
        "text",
        "\0",
        "\r\nX: y",
        "\ud7ff",
        "é",
        "%",
        "%DOWNSTREAM%",
        "(",
        "a{1000}",
        "*",
        "*.a.b",
        "10.0.0.9",
        "fd00::9",
    ),
    *("http", "h2c", "kubernetes.io/h2c", "1s", "0s", "99999h", "-1s", "1e9", "Service", "ServiceImport", "Exact"),
    *("RegularExpression", "PathPrefix", "RequestRedirect", "ExtensionRef", "Cookie", "Header", "UDP", "SCTP", "None"),
    *("l4", "l7", "none", "IPv6", "::", "0.0.0.0", "127.0.0.1", "::ffff:10.0.0.9", "10.0.0.9/32", "fe80::1%eth0"),
)
NUMBERS = (0, 1, -1, 80, 65535, 65536, 2**31, 2**53, 2**63, 2**64, 0.5, -0.0, 1e308, float("inf"), float("nan"))
FIELDS = ("name", "namespace", "kind", "group", "port", "weight", "type", "value", "spec", "metadata", "uid", "labels")


def good(kind: str, name: str) -> Json:
    """An object that is decoded."""
    metadata: Json = {"name": name, "namespace": "app", "labels": {"weft.dev/mode": "l7"}, "uid": name}
    if kind == "EndpointSlice":
        metadata["labels"] = {"kubernetes.io/service-name": "web"}
    body = json.loads(json.dumps(BODIES[kind]).replace('"nodeName": "n"', '"nodeName": "here"'))
    return {"apiVersion": KINDS[kind][1][0], "kind": kind, "metadata": metadata, **body}


def good_sets() -> list[list[Json]]:
    """The objects of every golden case, and every kind beside a Service, its namespace and a client."""
    base = [good("Namespace", "app"), good("Service", "web"), good("EndpointSlice", "web"), good("Pod", "client")]
    cases = sorted((TESTS / "golden").glob("*/in.yaml"))
    golden = [[item.value for item in split(case.read_text(), is_json=False)] for case in cases]
    ours = [[item for item in items if item["kind"] in KINDS] for items in golden]
    return [*ours, *([*base, good(kind, "other")] for kind in KINDS)]


def children(value: Any) -> Iterable[tuple[Any, Any]]:
    """Each key of a container with its value; of anything else nothing."""
    return value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()


def positions(value: Any) -> Iterator[Position]:
    """Every container in a value with each of its keys."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key, inner in children(holder):
            yield holder, key
            waiting.append(inner)


def patterns(item: Json) -> Iterator[tuple[Pattern, Position]]:
    """Every place in an object with its pattern."""
    waiting: list[tuple[Pattern, Any]] = [((str(item.get("kind")),), item)]
    while waiting:
        above, holder = waiting.pop()
        for key, inner in children(holder):
            path = (*above, "*" if isinstance(holder, list) else str(key))
            yield path, (holder, key)
            waiting.append((path, inner))


class Mutator:
    """Changes sets of objects. What `seeds` have in a field may be put into that field of other objects."""

    def __init__(self, seeds: Sequence[list[Json]]) -> None:
        self._seeds = seeds
        self._values: dict[Pattern, list[Any]] = defaultdict(list)
        self._fields: dict[Pattern, dict[str, None]] = defaultdict(dict)
        for item in (item for items in seeds for item in items):
            for path, (holder, key) in patterns(item):
                self._values[path].append(holder[key])
                if isinstance(holder, dict):
                    self._fields[path[:-1]][key] = None

    def mutate(self, items: list[Json], random: Random) -> list[Json]:
        """A copy of a set in which at least one object is replaced, changed, added or removed."""
        made = copy.deepcopy(items)
        if not made or random.random() < 0.1:
            self._change_set(made, random)
        else:
            item = random.choice(made)
            for _ in range(random.choice((1, 1, 2, 4))):
                self._change(item, made, random)
        return made[:MAX_OBJECTS]

    def _change_set(self, items: list[Json], random: Random) -> None:
        """An object or a whole set comes from a seed, is repeated, or is removed."""
        how = random.randrange(4)
        if how == 0 and items:
            items.pop(random.randrange(len(items)))
        elif how == 1 and items:
            items.append(copy.deepcopy(random.choice(items)))
            self._change(items[-1], items, random)
        else:
            seed = random.choice(self._seeds)
            items += copy.deepcopy(seed if how == 2 else [random.choice(seed)] if seed else [])

    def _change(self, item: Json, items: list[Json], random: Random) -> None:
        """Something in an object is replaced, removed, repeated or put elsewhere, or is that of a seed."""
        found = list(patterns(item))
        if not found:
            return
        path, (holder, key) = random.choice(found)
        how = random.randrange(10)
        if how < 3:
            holder[key] = self._like(holder[key], items, random)
        elif how < 6:
            self._graft(path, holder, key, random)
        elif how == 6:
            del holder[key]
        elif how == 7:
            holder[key] = any_value(random)
        elif how == 8 and isinstance(holder, list):
            holder.extend(copy.deepcopy([holder[key]] * random.randint(1, MAX_REPEATS)))
        else:
            source, at = random.choice(list(positions(random.choice(items))) or [(holder, key)])
            holder[key] = copy.deepcopy(source[at])

    def _graft(self, path: Pattern, holder: Any, key: Any, random: Random) -> None:
        """A field has the value that it has in a seed; it may be one that the object has not had."""
        inside = holder[key]
        fields = list(self._fields.get(path, ())) if isinstance(inside, dict) else []
        if fields and random.random() < 0.5:
            holder, key = inside, random.choice(fields)
            path = (*path, key)
        known = self._values.get(path)
        if known:
            holder[key] = copy.deepcopy(random.choice(known))

    def _like(self, value: Any, items: list[Json], random: Random) -> Any:
        """Another value of the same type, as far as it is a scalar."""
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return random.choice((value + 1, value - 1, *(number for number in NUMBERS if isinstance(number, int))))
        if isinstance(value, str):
            texts = [holder[key] for holder, key in positions(random.choice(items)) if isinstance(holder[key], str)]
            at = random.randint(0, len(value))
            edited = value[:at] + random.choice(WORDS) + value[at + random.randint(0, 2) :]
            return random.choice((*WORDS, *NAMES, edited, edited.strip(), value[:at], value * 2, *texts))
        return any_value(random) if value is None else value


def any_value(random: Random, depth: int = 2) -> Any:
    """A scalar, or a list or mapping of such."""
    how = random.randrange(10) if depth else 9
    if how == 0:
        return [any_value(random, depth - 1) for _ in range(random.randrange(4))]
    if how == 1:
        return {random.choice(FIELDS): any_value(random, depth - 1) for _ in range(random.randrange(4))}
    return random.choice((None, True, False, *NUMBERS, *WORDS, *NAMES))
