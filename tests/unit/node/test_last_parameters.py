"""The last MeshParameters in force, over their deletion and over a restart of the agent."""

from pathlib import Path

import pytest

from agent.ir.policy import Policy
from agent.model.change import Change, Delete, Upsert
from agent.model.core import Pod
from agent.model.meta import ObjectMeta
from agent.model.parameters import MeshAuthorization, MeshParametersSpec, UndecodableMeshParameters
from agent.node.change_queue import ChangeQueue
from agent.node.last_parameters import LastParameters
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.translate.policies import policies_of
from support.parameters import mesh, parameters

POD = Pod(ObjectMeta("web", "app"))
DENY, SAME, ALLOW = parameters("Deny"), parameters("SameNamespace"), parameters("Allow")


class Agent:
    """An agent with a state folder, as far as its queue of changes."""

    def __init__(self, file: Path) -> None:
        self.store = Store()
        translator = Translator(self.store, Options("here"))
        self._queue = ChangeQueue(translator, parameters=LastParameters(self.store, file))

    def take(self, *changes: Change, synced: bool = True) -> None:
        """Changes of a source, before or after it has synced."""
        self._queue.put(changes)
        self._queue.enrol(0.0)
        if synced:
            self._queue.keep_parameters()

    @property
    def policies(self) -> list[Policy]:
        self._queue.enrol(0.0)
        return policies_of(TrackedView(self.store), POD)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "meshparameters.json"


def test_without_parameters_nothing_is_written(file: Path) -> None:
    agent = Agent(file)
    agent.take(Upsert(mesh()))
    assert (agent.policies, file.exists()) == ([], False)


def test_the_last_parameters_stay_when_they_are_deleted_and_after_restarts(file: Path) -> None:
    agent = Agent(file)
    agent.take(Upsert(SAME))
    agent.take(Upsert(DENY))
    assert agent.policies == [Policy(DENY.key)]
    agent.take(Delete(DENY.key))
    assert agent.policies == [Policy(DENY.key)]
    for _ in range(2):
        later = Agent(file)
        later.take(Upsert(mesh("absent")), synced=False)
        later.take()
        assert later.policies == [Policy(DENY.key)]
    assert [item.name for item in file.parent.iterdir()] == [file.name]


def test_changes_of_one_batch_are_those_of_one_moment(file: Path) -> None:
    """Parameters that no pod was translated by were never in force."""
    agent = Agent(file)
    agent.take(Upsert(DENY))
    agent.take(Upsert(ALLOW), Delete(ALLOW.key))
    assert agent.policies == [Policy(DENY.key)]


def test_parameters_that_exist_again_are_in_force(file: Path) -> None:
    agent = Agent(file)
    agent.take(Upsert(DENY))
    agent.take(Delete(DENY.key))
    agent.take(Upsert(ALLOW))
    assert agent.policies == []
    assert Agent(file).policies == []


def test_what_a_source_has_sent_until_now_is_not_taken_for_all_that_there_is(file: Path) -> None:
    """The XMesh may come after MeshParameters that it does not name."""
    agent = Agent(file)
    agent.take(Upsert(parameters("Deny", name="strict")), Upsert(mesh("strict")))
    later = Agent(file)
    later.take(Upsert(ALLOW), synced=False)
    later.take(Upsert(mesh("strict")), synced=False)
    later.take()
    assert [found.key.name for found in later.policies] == ["strict"]


@pytest.mark.parametrize(
    ("content", "refuses"),
    [
        (b"", True),
        (b"\xff\x00", True),
        (b"{}", True),
        (b'{"metadata": {"name": "a"}, "spec": {"authorization": {"default": "Later"}}}', True),
        (b'{"metadata": {"name": "a"}, "spec": {"later": 1, "authorization": {"default": "Allow"}}}', False),
    ],
)
def test_a_file_that_cannot_be_decoded_stands_for_the_strictest(file: Path, content: bytes, refuses: bool) -> None:
    file.write_bytes(content)
    assert bool(Agent(file).policies) is refuses


def test_a_file_that_cannot_be_read_stands_for_the_strictest(file: Path) -> None:
    file.mkdir()
    assert Agent(file).policies


def test_a_file_that_cannot_be_written_is_written_the_next_time(tmp_path: Path) -> None:
    file = tmp_path / "state" / "meshparameters.json"
    agent = Agent(file)
    agent.take(Upsert(DENY))
    agent.take(Delete(DENY.key))
    assert agent.policies == [Policy(DENY.key)]
    file.parent.mkdir()
    agent.take()
    assert Agent(file).policies == [Policy(DENY.key)]


def test_only_an_object_is_kept(file: Path) -> None:
    """Not the strictest values of one that could not be decoded: it would stay after the object was mended."""
    agent = Agent(file)
    strictest = MeshParametersSpec("", MeshAuthorization("Deny"))
    undecodable = UndecodableMeshParameters(DENY.key, 1, strictest, "$", "is bad")
    agent.take(Upsert(undecodable))
    assert (agent.policies, file.exists()) == ([Policy(DENY.key)], False)
    agent.take(Delete(undecodable.key), Upsert(ALLOW))
    assert agent.policies == []
