"""The directory source: what it says first, and what it says when files change."""

import asyncio
import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.kube.directory_source import DirectorySource, SourceError
from agent.kube.node_folder import NodeFolder
from agent.model.change import Delete, Problem, Resolved, Synced, Upsert
from agent.model.facts import NodeReport
from agent.model.meta import Key
from agent.model.weft_node import WeftNode, WeftNodeMetadata, WeftNodeStatus


def namespace(name: str, **labels: str) -> str:
    listed = ", ".join(f"{key}: {value}" for key, value in labels.items())
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{listed}}}}}\n"


def texts(source: DirectorySource) -> list[str]:
    """Changes as short words."""
    words = []
    for change in source.read():
        match change:
            case Upsert(value):
                words.append(f"+{value.key.name}")
            case Delete(key):
                words.append(f"-{key.name}")
            case Problem():
                words.append("problem")
            case Resolved():
                words.append("resolved")
    return words


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(namespace("one") + "---\n" + namespace("two"))
    return tmp_path


@pytest.fixture
def source(folder: Path) -> DirectorySource:
    made = DirectorySource(folder)
    assert texts(made) == ["+one", "+two"]
    return made


def test_an_object_has_a_place_also_while_its_file_is_broken(source, folder):
    one, two = (Key("Namespace", "", name) for name in ("one", "two"))
    assert [source.location(key) for key in (one, two)] == [f"{folder}/a.yaml:1", f"{folder}/a.yaml:4"]
    (folder / "a.yaml").write_text("\nkind: [\n---\n" + namespace("two"))
    source.read()
    assert source.location(one) == f"{folder}/a.yaml:1"
    assert source.location(two) == f"{folder}/a.yaml:3"
    assert source.location(Key("Namespace", "", "three")) == ""


def test_nothing_new_says_nothing(source, folder):
    (folder / "a.yaml").write_text(namespace("two") + "---\n" + namespace("one"))
    assert texts(source) == []


def test_only_what_changed_is_said(source, folder):
    (folder / "a.yaml").write_text(namespace("one", x="y") + "---\n" + namespace("two"))
    assert texts(source) == ["+one"]


def test_a_broken_document_keeps_what_it_was_and_hurts_no_neighbour(source, folder):
    (folder / "a.yaml").write_text("kind: [\n---\n" + namespace("two", x="y"))
    assert texts(source) == ["+two", "problem"]
    (folder / "a.yaml").write_text(namespace("two", x="y"))
    assert texts(source) == ["-one", "resolved"]


def test_a_file_that_is_gone_takes_its_objects_along(source, folder):
    (folder / "a.yaml").unlink()
    assert texts(source) == ["-one", "-two"]


def test_of_two_files_with_one_object_the_first_gives_it(source, folder):
    (folder / "b.yaml").write_text(namespace("one", x="y"))
    assert texts(source) == ["problem"]
    (folder / "a.yaml").unlink()
    assert texts(source) == ["-two", "+one", "resolved"]


def test_an_object_twice_in_a_file_is_a_problem(source, folder):
    (folder / "b.yaml").write_text(namespace("three") + "---\n" + namespace("three", x="y"))
    assert texts(source) == ["+three", "problem"]


def test_hidden_files_and_other_endings_are_left_alone(source, folder):
    (folder / ".b.yaml.swp").write_text("x")
    (folder / ".hidden.yaml").write_text(namespace("three"))
    (folder / "README.md").write_text("x")
    assert texts(source) == []


def test_a_file_that_is_not_text_keeps_what_it_was(source, folder):
    (folder / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert texts(source) == ["problem"]


def test_a_folder_that_vanishes_keeps_its_last_state(source, folder):
    (folder / "a.yaml").unlink()
    folder.rmdir()
    assert texts(source) == ["problem"]
    folder.mkdir()
    (folder / "a.yaml").write_text(namespace("one"))
    assert texts(source) == ["-two", "resolved"]


def test_folders_that_come_and_go_while_they_are_read_hurt_nobody(source, folder):
    for number in range(30):
        (folder / "many" / str(number)).mkdir(parents=True)
        (folder / "many" / str(number) / "b.yaml").write_text(namespace(f"b{number}"))
    over = threading.Event()

    def rename():
        while not over.is_set():
            for number in range(30):
                (folder / "many" / str(number)).rename(folder / "many" / f".{number}")
                (folder / "many" / f".{number}").rename(folder / "many" / str(number))

    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for _ in range(100):
            source.read()
    finally:
        over.set()
        thread.join()
    source.read()
    assert texts(source) == []
    assert texts(DirectorySource(folder)) == ["+one", "+two", *sorted(f"+b{number}" for number in range(30))]


def test_a_folder_that_never_was_is_an_error(tmp_path):
    async def first() -> None:
        await anext(DirectorySource(tmp_path / "nowhere").changes())

    with pytest.raises(SourceError, match="is not a directory"):
        asyncio.run(first())


async def test_changes_are_watched(folder):
    changes = DirectorySource(folder).changes()
    first = await anext(changes)
    assert first[-1] == Synced("manifests")
    following = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.3)
    (folder / "b.yaml").write_text(namespace("three"))
    (change,) = await asyncio.wait_for(following, 10)
    assert change.value.key.name == "three"
    await changes.aclose()


async def test_a_change_before_the_watch_has_begun_is_found(folder):
    changes = DirectorySource(folder).changes()
    await anext(changes)
    (folder / "b.yaml").write_text(namespace("three"))
    (change,) = await asyncio.wait_for(anext(changes), 10)
    assert change.value.key.name == "three"
    await changes.aclose()


async def test_a_folder_that_is_replaced_is_followed(folder):
    changes = DirectorySource(folder).changes()
    await anext(changes)
    following = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.3)
    folder.rename(folder.with_name("old"))
    (gone,) = await asyncio.wait_for(following, 10)
    assert isinstance(gone, Problem)
    folder.mkdir()
    (folder / "a.yaml").write_text(namespace("one") + "---\n" + namespace("three"))
    texts: set[type] = set()
    while texts != {Upsert, Delete, Resolved}:
        texts |= {type(change) for change in await asyncio.wait_for(anext(changes), 10)}
    await changes.aclose()


edits = st.lists(
    st.tuples(
        st.sampled_from(["a.yaml", "b.yaml"]),
        st.none() | st.lists(st.sampled_from(["one", "two", "three"]), max_size=3, unique=True),
        st.sampled_from(["", "x"]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(edits)
def test_following_edits_ends_where_reading_anew_does(steps):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        followed, known = DirectorySource(folder), {}
        for file, names, label in steps:
            if names is None:
                (folder / file).unlink(missing_ok=True)
            else:
                (folder / file).write_text("---\n".join(namespace(n, l=label or "none") for n in names))
            for change in followed.read():
                if isinstance(change, Upsert):
                    known[change.value.key] = change.value
                elif isinstance(change, Delete):
                    del known[change.key]
        anew = {
            change.value.key: change.value for change in DirectorySource(folder).read() if isinstance(change, Upsert)
        }
        assert known == anew


async def test_nodes_write_their_own_object_and_read_the_others(folder: Path, tmp_path_factory) -> None:
    nodes = tmp_path_factory.mktemp("state")
    source, other = (DirectorySource(folder, nodes=NodeFolder(nodes, name)) for name in ("n1", "n2"))
    for count in (2, 0):
        node = WeftNode(WeftNodeMetadata("n1"), WeftNodeStatus((), count, waypoints=("10.0.0.9",)))
        await source.write_weft_node(node)
        assert json.loads((nodes / "n1.json").read_bytes()) == {
            "apiVersion": "weft.dev/v1alpha1",
            "kind": "WeftNode",
            "metadata": {"name": "n1"},
            "status": {
                "rejected": [],
                "rejectedCount": count,
                "waypoints": ["10.0.0.9"],
                "guarded": [],
                "tunnels": None,
            },
        }
    assert [path.name for path in nodes.iterdir()] == ["n1.json"]
    assert texts(source) == ["+one", "+two", "+n1"]
    other.read()
    assert other._reported[Key("NodeReport", "", "n1")] == NodeReport("n1", ("10.0.0.9",))
    (nodes / "n1.json").write_text("{")
    assert [change.subject for change in other.read() if isinstance(change, Problem)] == ["WeftNode"]
    assert Key("NodeReport", "", "n1") in other._reported, "what a broken file had stays in force"
    (nodes / "n1.json").unlink()
    assert Delete(Key("NodeReport", "", "n1")) in other.read()


async def test_an_object_that_cannot_be_stored_is_an_error_for_who_stores_it(folder: Path) -> None:
    with pytest.raises(OSError, match=r"n1\.json"):
        await DirectorySource(folder, nodes=NodeFolder(folder / "none", "n1")).write_weft_node(
            WeftNode(WeftNodeMetadata("n1"))
        )
    await DirectorySource(folder).write_weft_node(WeftNode(WeftNodeMetadata("n1")))
