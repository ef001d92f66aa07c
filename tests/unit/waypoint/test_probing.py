"""Probes beside the loop: bounded for each address, repeated until they are not wanted, none left behind."""

import asyncio

import pytest

from agent.waypoint import probing
from agent.waypoint.probing import AT_ONCE, Probing
from agent.waypoint.state_machine import Probe

BLUE, GREEN = "10.1.1.1", "10.1.1.2"
MANY = [Probe(BLUE, 20_000 + number, f"app/l{number}:80") for number in range(AT_ONCE + 5)]


class Network:
    """Attempts have no answer until they are let go; then they all have the same one."""

    def __init__(self) -> None:
        self.answer: bool | None = True
        self.running: set[tuple[str, int]] = set()
        self.attempts = 0
        self.reports: list[tuple[Probe, bool | None]] = []
        self.released = asyncio.Event()

    async def accepts(self, address: str, port: int) -> bool | None:
        self.attempts += 1
        self.running.add((address, port))
        try:
            await self.released.wait()
        finally:
            self.running.remove((address, port))
        return self.answer

    def report(self, probe: Probe, accepted: bool | None) -> None:
        self.reports.append((probe, accepted))


async def until(network: Network, reports: int) -> None:
    async with asyncio.timeout(10):
        while len(network.reports) < reports:
            await asyncio.sleep(0.001)


async def turns() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_address_that_is_silent_has_so_many_attempts_at_once_and_delays_no_other():
    network = Network()
    tried = Probing(network, network.report)
    async with tried.running():
        tried.want([*MANY, Probe(GREEN, 20_000)])
        await turns()
        assert len([address for address, _ in network.running if address == BLUE]) == AT_ONCE
        assert (GREEN, 20_000) in network.running
        network.released.set()
        await until(network, len(MANY) + 1)
        assert {probe for probe, _ in network.reports} == {*MANY, Probe(GREEN, 20_000)}


async def test_a_probe_that_is_not_wanted_any_more_ends_and_makes_room():
    network = Network()
    tried = Probing(network, network.report)
    async with tried.running():
        tried.want(MANY)
        await turns()
        tried.want(MANY[-5:])
        await turns()
        assert network.running == {(BLUE, probe.port) for probe in MANY[-5:]}
    assert (network.running, network.reports) == (set(), [])


@pytest.mark.parametrize("answer", [False, None])
async def test_an_attempt_without_success_is_repeated(monkeypatch: pytest.MonkeyPatch, answer: bool | None):
    monkeypatch.setattr(probing, "FIRST_PAUSE_SECONDS", 0.001)
    network = Network()
    network.answer = answer
    network.released.set()
    tried = Probing(network, network.report)
    async with tried.running():
        tried.want(MANY[:1])
        await until(network, 3)
        tried.want(MANY[:1])
        await until(network, 5)
    assert set(network.reports) == {(MANY[0], answer)}
    assert network.attempts == len(network.reports)


async def test_a_programming_error_in_a_probe_is_not_hidden():
    class Broken(Network):
        async def accepts(self, address: str, port: int) -> bool | None:
            raise KeyError(port)

    network = Broken()
    tried = Probing(network, network.report)

    async def work() -> None:
        async with tried.running():
            tried.want(MANY[:1])
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await work()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
