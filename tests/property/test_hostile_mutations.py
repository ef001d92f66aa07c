"""Good objects of every kind with anything in any place: they are decoded, translated and encoded, or refused with a
reason. Nothing is raised.

Two thousand sets of objects by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it twenty thousand.
"""

import copy
import os
from collections import Counter
from typing import Any

from hostile import BODIES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.ir.addresses import Addresses
from agent.ir.resources import ResourceType
from agent.kube.decode import KINDS, decode
from agent.model.change import Change, Problem, Upsert
from agent.model.facts import PodCgroup
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.encode import encode
from agent.waypoint.xds.render import render

SETS = int(20_000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
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
)
NUMBERS = (0, 1, -1, 80, 65535, 65536, 2**31, 2**53, 2**63, 2**64, 0.5, -0.0, 1e308, float("inf"), float("nan"))
FIELDS = ("name", "namespace", "kind", "group", "port", "weight", "type", "value", "spec", "metadata", "uid", "labels")
SCALARS = st.sampled_from((None, True, False, *NUMBERS, *WORDS, *NAMES)) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in steps for place in ((value, key), *places(inner))]


def good(kind: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "app", "labels": {"weft.dev/mode": "l7"}, "uid": name}
    if kind == "EndpointSlice":
        metadata["labels"] = {"kubernetes.io/service-name": "web"}
    return {"apiVersion": KINDS[kind][1][0], "kind": kind, "metadata": metadata, **copy.deepcopy(BODIES[kind])}


def change(draw: st.DrawFn, item: dict[str, Any]) -> None:
    """Something in it is replaced, removed, repeated or put elsewhere."""
    found = places(item)
    holder, key = draw(st.sampled_from(found))
    how = draw(st.sampled_from(("replace", "remove", "repeat", "elsewhere")))
    if how == "replace":
        holder[key] = draw(VALUES)
    elif how == "remove":
        del holder[key]
    elif how == "repeat" and isinstance(holder, list):
        holder.extend([holder[key]] * draw(st.integers(1, 20)))
    else:
        source, at = draw(st.sampled_from(found))
        holder[key] = copy.deepcopy(source[at]) if at in source or isinstance(source, list) else None


@st.composite
def objects(draw: st.DrawFn) -> list[dict[str, Any]]:
    """One of some kinds, each with several changes; a good Service and Namespace may be beside them."""
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    made = [good(kind, draw(st.sampled_from(("web", f"web{number}")))) for number, kind in enumerate(kinds)]
    for item in made:
        for _ in range(draw(st.integers(0, 4))):
            if item:
                change(draw, item)
    beside = [] if draw(st.booleans()) else [good("Namespace", "app"), good("Service", "web"), good("Pod", "client")]
    return beside + made


def told(items: list[dict[str, Any]], counts: Counter[str]) -> None:
    """Through all of it. Each object that is refused has a reason that names it and a field."""
    translator = Translator(Store(), Options("n"))
    changes: list[Change] = [Upsert(PodCgroup("client", 7))]
    for found in (found for item in items for found in decode(item, "here")):
        if isinstance(found, Problem):
            assert found.subject
            assert found.field
            counts["refused"] += 1
        else:
            counts["taken"] += 1
            changes.append(Upsert(found))
    translator.update(changes)
    for fragment in translator.fragments.values():
        for name, resource in render(fragment, Options("n")).resources.items():
            place = (Addresses("10.0.0.1"), 20000) if name.kind is ResourceType.LISTENER else ()
            encode(name, resource, *place)
            counts[name.kind.label] += 1


def test_nothing_is_raised_whatever_is_written() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=SETS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(objects())
    def each(items: list[dict[str, Any]]) -> None:
        told(items, counts)

    each()
    print(dict(counts))
    assert counts["refused"] > SETS / 10
    assert counts["taken"] > SETS / 10
    assert all(counts[kind.label] for kind in ResourceType), "resources of every kind were encoded"
