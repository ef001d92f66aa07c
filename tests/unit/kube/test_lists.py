"""Lists as `kubectl get -o yaml` and the API server write them, and documents of kinds that weft does not read."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from agent.kube.decode import IgnoredDocument, decode_all
from agent.kube.directory_source import DirectorySource
from agent.model.change import Problem, Upsert

GATEWAY = "gateway.networking.k8s.io/v1"
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}
BROKEN = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {"ports": 7}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def of(items: Any, kind: str = "List", version: str = "v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"resourceVersion": ""}, "items": items}


def bare(document: dict[str, Any]) -> dict[str, Any]:
    """An object as a server has it in a list: without its kind."""
    return {name: value for name, value in document.items() if name not in ("apiVersion", "kind")}


def read(document: Any) -> list[str]:
    """What becomes of each item, with its place."""
    texts = []
    for location, found in decode_all(document, "f:1"):
        match found:
            case Problem():
                what = found.field
            case IgnoredDocument():
                what = found.kind
            case _:
                what = str(found.key)
        texts.append(f"{location}: {what}")
    return texts


def test_items_are_read_also_of_lists_in_lists() -> None:
    assert read(of([SERVICE, of([BROKEN, of([CONFIG])]), 3])) == [
        "f:1 item 0: Service default/a",
        "f:1 item 1 item 0: spec.ports",
        "f:1 item 1 item 1 item 0: v1 ConfigMap",
        "f:1 item 2: $",
    ]


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (of([bare(SERVICE)], "ServiceList"), "Service default/a"),
        (of([SERVICE], "ServiceList"), "Service default/a"),
        (of([{"metadata": {"name": "r"}}], "HTTPRouteList", GATEWAY), "HTTPRoute default/r"),
        (of([bare(CONFIG)], "ConfigMapList"), "v1 ConfigMap"),
        (of([{"kind": "Service", "metadata": {}}], "ServiceList"), "apiVersion"),
    ],
)
def test_items_have_the_kind_of_their_list(document: Any, kind: str) -> None:
    assert read(document) == [f"f:1 item 0: {kind}"]


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_list_is_nothing(items: Any) -> None:
    assert read(of(items)) == []
    assert read({"apiVersion": "v1", "kind": "List"}) == []


@pytest.mark.parametrize("kind", ["List", "ServiceList"])
@pytest.mark.parametrize("items", [7, "x", {"a": 1}, True])
def test_items_that_are_no_array_are_a_problem(kind: str, items: Any) -> None:
    assert read(of(items, kind)) == ["f:1: items"]


def test_what_is_only_named_like_a_list_is_of_its_own_kind() -> None:
    assert read({"apiVersion": "x/v1", "kind": "AllowList", "spec": {}}) == ["f:1: x/v1 AllowList"]
    assert read({"apiVersion": "x/v1", "kind": "List", "items": [SERVICE]}) == ["f:1: x/v1 List"]
    assert read({"kind": "List", "items": [SERVICE]}) == ["f:1: apiVersion"]


def test_a_deep_nest_of_lists_hurts_nobody() -> None:
    document = of([SERVICE])
    for _ in range(5000):
        document = of([document])
    ((_, found),) = decode_all(document, "f:1")
    assert not isinstance(found, Problem | IgnoredDocument)


def test_a_directory_counts_and_names_what_it_does_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "a.json").write_text(json.dumps(of([SERVICE, CONFIG, CONFIG, SERVICE, SERVICE])))
    source = DirectorySource(tmp_path)
    changes = source.read()
    assert [change.value.key.name for change in changes if isinstance(change, Upsert)] == ["a"]
    twice = [change.where for change in changes if isinstance(change, Problem)]
    assert twice == [f"{tmp_path}/a.json:1 item {number}" for number in (3, 4)]
    assert source.status()["ignored"] == {"v1 ConfigMap": 2}
    (tmp_path / "b.json").write_text(json.dumps({**CONFIG, "apiVersion": "x/\u202e1"}))
    (tmp_path / "c.json").write_text(json.dumps(CONFIG))
    source.read()
    assert source.status()["ignored"] == {"v1 ConfigMap": 3, "x/\\u202e1 ConfigMap": 1}
    assert [record.__dict__["kind"] for record in caplog.records] == ["v1 ConfigMap", "x/\\u202e1 ConfigMap"]
    (tmp_path / "a.json").unlink()
    source.read()
    assert source.status()["ignored"]["v1 ConfigMap"] == 1
