"""What the directory source looks at after an event: what the event names, and what no event can name."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from watchfiles import Change as Event

from agent.kube import directory_source
from agent.kube.directory_source import DirectorySource
from agent.model.change import Change, Delete, Problem, Resolved, Upsert
from agent.model.meta import Key


def namespace(name: str, label: str = "none") -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{l: {label}}}}}\n"


class Watched:
    """A source that is followed. It has no rescans, so that only events lead to changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changes = DirectorySource(folder).changes()
        self._following = asyncio.ensure_future(anext(self._changes))
        self.objects: dict[str, str] = {}

    async def begin(self) -> None:
        await self._turn(60)
        await self.sees_events(self._folder)

    async def sees_events(self, folder: Path) -> None:
        """Wait until events of a folder arrive: change a file until that is noticed."""
        file = folder / "probe.yaml"
        for number in range(600):
            file.write_text(namespace("probe", f"x{number}"))
            await self._turn(0.1)
            if "probe" in self.objects:
                break
        file.unlink()
        await self.until(lambda objects: "probe" not in objects)

    async def until(self, true: Callable[[dict[str, str]], bool]) -> None:
        for _ in range(1000):
            if true(self.objects):
                return
            assert await self._turn(60), "no change arrived"
        raise AssertionError("the changes were others")

    async def end(self) -> None:
        self._following.cancel()
        await asyncio.wait([self._following])
        await self._changes.aclose()  # type: ignore[attr-defined]

    async def _turn(self, seconds: float) -> bool:
        """Take the next changes; False if none arrive so long."""
        done, _ = await asyncio.wait([self._following], timeout=seconds)
        if done:
            self._take(self._following.result())
            self._following = asyncio.ensure_future(anext(self._changes))
        return bool(done)

    def _take(self, batch: list[Change]) -> None:
        for item in batch:
            if isinstance(item, Upsert):
                self.objects[item.value.key.name] = item.value.metadata.labels["l"]  # type: ignore[attr-defined]
            elif isinstance(item, Delete):
                del self.objects[item.key.name]


@pytest.fixture
def without_rescan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_source, "RESCAN_MS", 3_600_000)


@pytest.fixture
async def watched(tmp_path: Path, without_rescan: None) -> AsyncIterator[Watched]:
    (tmp_path / "many").mkdir()
    for number in range(500):
        (tmp_path / "many" / f"{number}.yaml").write_text(namespace(f"n{number}"))
    made = Watched(tmp_path)
    await made.begin()
    yield made
    await made.end()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of all files and folders that are examined."""
    names: set[str] = set()

    def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **options: Any) -> Any:
            names.add(os.path.basename(os.fspath(path)) if not isinstance(path, int) else str(path))
            return function(path, *args, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("stat", "lstat", "scandir", "listdir"):
            patch.setattr(os, name, recorded(getattr(os, name)))
        yield names


async def test_of_500_files_only_the_changed_one_is_examined(
    watched: Watched, tmp_path: Path, looked: set[str]
) -> None:
    (tmp_path / "many" / "7.yaml").write_text(namespace("n7", "new"))
    await watched.until(lambda objects: objects["n7"] == "new")
    # The file of `begin` may have another event.
    assert looked - {"probe.yaml", tmp_path.name} == {"7.yaml"}


async def test_files_that_come_go_and_move_are_followed_by_their_events(watched: Watched, tmp_path: Path) -> None:
    many = tmp_path / "many"
    (many / ".new").write_text(namespace("n1", "replaced"))
    (many / ".new").replace(many / "1.yaml")
    await watched.until(lambda objects: objects["n1"] == "replaced")
    (many / "2.yaml").unlink()
    await watched.until(lambda objects: "n2" not in objects)
    (many / "3.yaml").rename(many / "3.txt")
    await watched.until(lambda objects: "n3" not in objects)
    (many / "3.txt").rename(many / "3.yaml")
    await watched.until(lambda objects: "n3" in objects)


async def test_folders_that_come_go_and_move_are_followed_by_their_events(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "many").rename(tmp_path / ".hidden")
    await watched.until(lambda objects: not objects)
    (tmp_path / ".hidden").rename(tmp_path / "shown")
    await watched.until(lambda objects: len(objects) == 500)
    await watched.sees_events(tmp_path / "shown")
    (tmp_path / "shown" / "4.yaml").rename(tmp_path / "shown" / "5.yaml")
    await watched.until(lambda objects: "n5" not in objects)
    (tmp_path / "shown").rename(tmp_path / "node_modules")
    await watched.sees_events(tmp_path / "node_modules")
    (tmp_path / "node_modules" / "5.yaml").write_text(namespace("n4", "new"))
    await watched.until(lambda objects: objects["n4"] == "new")
    shutil.rmtree(tmp_path / "node_modules")
    await watched.until(lambda objects: not objects)


async def test_a_volume_of_a_config_map_is_followed(watched: Watched, tmp_path: Path) -> None:
    """The kubelet replaces the link `..data`; what is not hidden are links through it."""
    volume = tmp_path / ".volume"
    volume.mkdir()
    for version in ("one", "two"):
        (volume / f"..{version}").mkdir()
        (volume / f"..{version}" / "a.yaml").write_text(namespace("mounted", version))
    (volume / "..data").symlink_to("..one")
    (volume / "a.yaml").symlink_to("..data/a.yaml")
    volume = volume.rename(tmp_path / "volume")
    await watched.until(lambda objects: objects.get("mounted") == "one")
    await watched.sees_events(volume)
    (volume / "..new").symlink_to("..two")
    (volume / "..new").replace(volume / "..data")
    await watched.until(lambda objects: objects.get("mounted") == "two")


async def test_a_directory_that_is_named_in_another_way_is_followed(
    tmp_path: Path, without_rescan: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for working, name in (("real", "."), ("real", "../real"), (".", "real"), (".", "link")):
        monkeypatch.chdir(tmp_path / working)
        watched = Watched(Path(name))
        await watched.begin()
        (tmp_path / "real" / "a.yaml").write_text(namespace("a", "x"))
        await watched.until(lambda objects: "a" in objects)
        (tmp_path / "real" / "a.yaml").unlink()
        await watched.until(lambda objects: "a" not in objects)
        await watched.end()


@pytest.mark.parametrize(("named", "rescan_ms"), [("other.yaml", 50), ("a.yaml", 0)])
async def test_rescans_find_changes_without_an_event_and_those_of_an_event_that_leave_the_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, rescan_ms: int
) -> None:
    async def events(*_: Path, **__: object) -> AsyncIterator[set[tuple[Event, str]]]:
        while True:
            await asyncio.sleep(0.01)
            yield {(Event.modified, str(tmp_path / named))}

    monkeypatch.setattr(directory_source, "awatch", events)
    monkeypatch.setattr(directory_source, "RESCAN_MS", rescan_ms)
    changes = DirectorySource(tmp_path).changes()
    await anext(changes)
    for number in range(3):
        (tmp_path / "a.yaml").write_text(namespace("a", f"x{number}"))
        if named == "a.yaml":
            os.utime(tmp_path / named, (1, 1))
        async with asyncio.timeout(60):
            (found,) = await anext(changes)
        assert found.value.metadata.labels == {"l": f"x{number}"}
    await changes.aclose()  # type: ignore[attr-defined]


def test_a_link_whose_removal_is_not_told_yet_is_removed_without_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".a").write_text(namespace("a"))
    link = tmp_path / "a.yaml"
    link.symlink_to(".a")
    source = DirectorySource(tmp_path)
    (found,) = source.read()
    link.unlink()
    assert source.read(["other.yaml"]) == [Delete(found.value.key)]  # type: ignore[union-attr]


FILES = [f"{folder}{file}" for folder in ("", "a/", "b/", "a/c/", "a/.h/") for file in ("x.yaml", "y.yaml", ".z.yaml")]
FOLDERS = ["a", "b", "a/c", "a/.h", ".hidden"]
file, folder = st.sampled_from(FILES), st.sampled_from(FOLDERS)
operations = st.one_of(
    st.tuples(st.just("write"), file, st.sampled_from(["a", "bb", "ccc"])),
    st.tuples(st.just("remove"), file | folder, st.just("")),
    *(st.tuples(st.sampled_from(["rename", "link"]), names, names) for names in (file, folder)),
)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def nested(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def perform(top: Path, what: str, name: str, other: str) -> list[str]:
    """Do one operation if it is possible. Returns the names that its events have."""
    path, target = top / name, top / other
    # Through a link the events would have another name.
    if any(folder.is_symlink() for folder in (*path.parents, *target.parents)):
        return []
    new = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name, *(str(parent.relative_to(top)) for parent in new)]
    if what == "write" and not path.is_symlink():
        path.write_text(namespace(other))
    elif what == "remove":
        remove(path)
    elif what == "link":
        remove(path)
        path.symlink_to(target)
    elif what == "rename" and os.path.lexists(path) and target.parent.is_dir() and not nested(path, target):
        remove(target)
        path.rename(target)
        names.append(other)
    return names


class Followed:
    """What the changes of a source amount to."""

    def __init__(self, folder: Path) -> None:
        self.source = DirectorySource(folder)
        self.objects: dict[Key, Any] = {}
        self.problems: dict[str, str] = {}

    def take(self, batch: list[Change]) -> None:
        for change in batch:
            match change:
                case Upsert(value):
                    self.objects[value.key] = value
                case Delete(key):
                    del self.objects[key]
                case Problem():
                    self.problems[change.where] = change.message
                case Resolved(where):
                    del self.problems[where]

    def state(self) -> object:
        locations = {key: self.source.location(key) for key in self.objects}
        return self.objects, self.problems, locations, self.source.ignored


@settings(max_examples=150, deadline=None)
@example([[("remove", "b/x.yaml", "")], [("write", "a/y.yaml", "a"), ("write", "b/y.yaml", "a"), ("link", "b", "a")]])
@given(st.lists(st.lists(operations, min_size=1, max_size=3), max_size=10))
def test_looking_at_what_events_name_finds_what_walks_find(batches: list[list[tuple[str, str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(os.path.realpath(name))
        events, walks = Followed(top), Followed(top)
        for followed in (events, walks):
            followed.take(followed.source.read())
        for batch in batches:
            names = [name for step in batch for name in perform(top, *step)]
            events.take(events.source.read(names))
            walks.take(walks.source.read())
            assert events.state() == walks.state()
