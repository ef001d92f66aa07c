"""The agent reads what Envoys counted, and keeps it over its own restarts and over those of Envoys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from agent.node.request_counter import RequestCounter
from agent.telemetry.request_log import PodAddresses, RequestCounts
from agent.telemetry.requests import Requests
from agent.waypoint.process import admin_socket
from support.fakes.telemetry import plan

CLIENT = replace(plan("face-1"), addresses=("10.1.0.9",))
KEY = "10.1.0.9|faces/smiley:80|faces/canary/main/0|faces/smiley2:80/http||http"


class Node:
    """A folder with admin sockets, and an agent that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        """A new agent takes over what the last one left."""
        self.requests = Requests(lambda: 0.0)
        counts = RequestCounts(PodAddresses(lambda: {41: CLIENT}), self.requests)
        self.counter = RequestCounter(self.folder, self.folder / "requests.bin", counts, self.requests)
        self.registry = CollectorRegistry()
        self.registry.register(self.requests)

    async def read(self) -> None:
        """Read once, in an agent that is ready."""
        task = asyncio.create_task(self.counter.run(lambda: True))
        await asyncio.sleep(0)
        await self.counter.read()
        task.cancel()

    def count(self, name: str = "istio_requests_total", **labels: str) -> float:
        samples = [sample for family in self.registry.collect() for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@asynccontextmanager
async def envoy(node: Node, name: str, *counted: int) -> AsyncIterator[list[int]]:
    """An admin interface that reports the total, and the requests in a series if there is one."""
    shown = list(counted)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        total, *series = shown
        lines = [f"envoy_weft_all_requests{{}} {total}"]
        lines += [f'envoy_weft_by_requests{{k="{KEY}",o="200|-"}} {number}' for number in series]
        body = "\n".join(lines)
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        writer.close()
        await writer.wait_closed()

    path = admin_socket(node.folder, name)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, path)
    try:
        yield shown
    finally:
        server.close()
        await server.wait_closed()
        path.unlink(missing_ok=True)


async def test_requests_of_all_envoys_are_counted_once(node: Node):
    async with envoy(node, "blue", 3, 3) as blue, envoy(node, "green", 4, 4):
        await node.read()
        await node.read()
        assert node.count(source_workload="face") == 7
        blue[:] = [5, 5]
        await node.read()
    assert node.count(source_workload="face") == node.count() == 9


async def test_the_next_agent_counts_what_came_meanwhile_and_nothing_twice(node: Node):
    async with envoy(node, "blue", 3, 3) as blue:
        await node.read()
        blue[:] = [8, 8]
        node.start()
        assert node.count() == 3
        await node.read()
    assert node.count(source_workload="face") == node.count() == 8


async def test_an_envoy_that_starts_again_counts_from_zero_also_while_no_agent_runs(node: Node):
    async with envoy(node, "blue", 3, 3):
        await node.read()
    node.start()
    async with envoy(node, "blue", 4, 4):
        await node.read()
    assert node.count(source_workload="face") == node.count() == 7


async def test_nothing_is_read_before_clients_have_names(node: Node):
    async with envoy(node, "blue", 3, 3):
        await node.counter.read()
        assert node.count() == 0


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x92\x80\x90rest"])
async def test_a_file_that_cannot_be_read_is_named_and_counts_begin_with_what_envoys_hold(
    node: Node, content: bytes, caplog: pytest.LogCaptureFixture
):
    (node.folder / "requests.bin").write_bytes(content)
    node.start()
    assert "cannot be restored" in caplog.text
    async with envoy(node, "blue", 3, 3):
        await node.read()
    assert node.count() == 3


async def test_a_folder_that_cannot_be_written_keeps_counting(node: Node, caplog: pytest.LogCaptureFixture):
    (node.folder / ".requests.bin.new").mkdir()
    async with envoy(node, "blue", 3, 3):
        await node.read()
    assert node.count() == 3
    assert "cannot be saved" in caplog.text


async def test_an_envoy_that_does_not_answer_is_read_later(node: Node):
    admin_socket(node.folder, "green").touch()
    async with envoy(node, "blue", 3):
        await node.read()
    assert node.count(source_workload="other") == node.count() == 3


async def test_many_scrapes_are_one_reading_and_wait_for_no_envoy_that_hangs(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agent.node.request_counter.SCRAPE_SECONDS", 0.01)
    readings = []

    async def hang() -> None:
        readings.append(1)
        await asyncio.sleep(3600)

    monkeypatch.setattr(node.counter, "read", hang)
    for _ in range(20):
        await node.counter.refresh()
    assert readings == [1]
