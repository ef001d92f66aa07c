"""When an agent writes its WeftNode: changes together, again after a failure, and not while nothing is known."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.kube.errors import ApiError
from agent.model.weft_node import NodePolicies, SelectingPolicy, WeftNode, WeftNodeMetadata, WeftNodeStatus
from agent.node import weft_node_writer as node_writer
from agent.node.weft_node_writer import ABSENT_SECONDS, ANSWER_SECONDS, ConnectionStability, NodeWriter

BLUE, GREEN = Envoy(1, "blue", Addresses("10.0.0.1"), 0), Envoy(2, "green", Addresses("10.0.0.2"), 0)


def node(count: int) -> WeftNode:
    return WeftNode(WeftNodeMetadata("n1"), WeftNodeStatus((), count))


def unknown(made: WeftNode) -> WeftNode:
    """The same without rejections."""
    return replace(made, status=replace(made.status, rejected=UNSET, rejected_count=UNSET))


def test_what_envoys_refuse_is_known_once_the_same_ones_are_connected_for_a_while() -> None:
    stability = ConnectionStability()
    assert not stability.observe([BLUE], 10.0)
    assert not stability.observe([BLUE], 9.9 + ANSWER_SECONDS)
    assert stability.observe([BLUE], 10.0 + ANSWER_SECONDS)
    assert not stability.observe([GREEN], 20.0), "another one has refused nothing yet"
    assert stability.observe([GREEN], 20.0 + ANSWER_SECONDS)


def test_a_report_outlives_an_envoy_that_returns_but_not_one_that_stays_away() -> None:
    stability = ConnectionStability()
    assert not stability.observe([], 0.0)
    assert not stability.observe([], ABSENT_SECONDS - 0.1)
    assert stability.observe([], ABSENT_SECONDS)
    assert not stability.observe([BLUE], ABSENT_SECONDS)


class Server:
    """What is stored, how often it was written, and what the next writes end with."""

    def __init__(self) -> None:
        self.made: WeftNode | None = None
        self.writes: list[WeftNode] = []
        self.errors: list[Exception] = []

    async def make(self, complete: bool) -> WeftNode | None:
        return self.made if complete or self.made is None else unknown(self.made)

    async def write(self, written: WeftNode) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.writes.append(written)


@asynccontextmanager
async def running(
    server: Server,
    errors: InternalErrors | None = None,
    envoys: Sequence[Envoy] = (BLUE,),
    spread: Sequence[float] = (0.0,),
) -> AsyncIterator[NodeWriter]:
    writer = NodeWriter(lambda: envoys, server.make, server.write, errors or InternalErrors(), lambda: spread[0])
    task = asyncio.ensure_future(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to settle, and what nobody says is looked at often."""
    monkeypatch.setattr(node_writer, "ANSWER_SECONDS", 0.0)
    monkeypatch.setattr(node_writer, "POLL_SECONDS", 0.01)


async def test_a_report_is_written_when_it_changed_and_only_then(quick: None) -> None:
    server = Server()
    async with running(server) as writer:
        server.made = node(1)
        await until(lambda: server.writes)
        for _ in range(5):
            writer.touch()
            await asyncio.sleep(node_writer.COALESCE_SECONDS)
        server.made = node(2)
        await until(lambda: len(server.writes) == 2)
    assert server.writes == [node(1), node(2)]
    assert writer.outcomes() == {"ok": 2, "failed": 0}


async def test_changes_that_come_together_are_one_write(quick: None) -> None:
    server = Server()
    async with running(server) as writer:
        for count in range(50):
            server.made = node(count)
            writer.touch()
            await asyncio.sleep(0)
        await until(lambda: server.writes)
    assert server.writes == [node(49)]


async def test_while_rejections_are_not_known_the_rest_is_written() -> None:
    server = Server()
    server.made = node(1)
    async with running(server) as writer:
        writer.touch()
        await until(lambda: server.writes)
    assert server.writes == [unknown(node(1))], "the Envoy may still refuse what it refused before"


async def test_rejections_stay_while_an_envoy_connects_again(quick: None) -> None:
    server, envoys = Server(), [BLUE]
    server.made = node(1)
    async with running(server, envoys=envoys) as writer:
        await until(lambda: server.writes)
        envoys[:] = []
        server.made = replace(node(0), status=replace(node(0).status, waypoints=("10.0.0.1",)))
        writer.touch()
        await until(lambda: len(server.writes) == 2)
    assert server.writes[1].status == replace(node(1).status, waypoints=("10.0.0.1",))


@pytest.mark.parametrize("error", [ApiError(0, "unreachable"), ApiError(403, "forbidden"), OSError("no space")])
async def test_what_could_not_be_written_is_written_later_as_it_is_then(error: Exception, quick: None) -> None:
    server = Server()
    server.errors = [error, error]
    server.made = node(1)
    async with running(server) as writer:
        await until(lambda: writer.outcomes()["failed"])
        server.made = node(2)
        await until(lambda: server.writes)
    assert server.writes == [node(2)]
    assert writer.outcomes() == {"ok": 1, "failed": 2}


def processed(observed: str, *selecting: SelectingPolicy) -> WeftNode:
    status = node(0).status
    return replace(node(0), status=replace(status, policies=NodePolicies(observed, len(selecting), selecting)))


async def test_what_all_nodes_write_at_once_is_spread_over_a_time(quick: None) -> None:
    server = Server()
    server.made = processed("a")
    spread = [0.0]
    async with running(server, spread=spread) as writer:
        await until(lambda: server.writes)
        server.made = processed("a+")
        await until(lambda: server.writes[-1] == server.made)
        server.writes.clear()
        spread[0] = 1e9
        server.made = processed("b")
        for _ in range(5):
            writer.touch()
            await asyncio.sleep(node_writer.COALESCE_SECONDS)
        assert not server.writes
        server.made = processed("b", SelectingPolicy("app", "p", 1))
        await until(lambda: server.writes)
    assert server.writes == [server.made], "what the node has to say itself does not wait"


async def test_it_is_written_in_the_end(quick: None) -> None:
    server = Server()
    server.made = processed("a")
    async with running(server, spread=(0.3,)):
        await until(lambda: server.writes)
        for observed in ("b", "c"):
            server.made = processed(observed)
            await until(lambda: server.writes[-1] == server.made)


async def test_an_object_that_somebody_deleted_is_there_again(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_writer, "RESYNC_SECONDS", 0.2)
    server = Server()
    server.made = node(1)
    async with running(server):
        await until(lambda: len(server.writes) == 2)


async def test_a_bug_in_the_report_ends_no_agent(quick: None) -> None:
    server, errors = Server(), InternalErrors(strict=False)

    async def broken(complete: bool) -> WeftNode | None:
        raise KeyError("a bug")

    server.make = broken  # type: ignore[method-assign]
    async with running(server, errors):
        await until(errors.listed)
    assert [(item.part, item.subject) for item in errors.listed()] == [("WeftNode", "WeftNode")]
