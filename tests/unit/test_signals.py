"""Parts that run together: the first that ends takes the others with it, and says so."""

import asyncio
import os
import signal

import pytest

from agent.signals import EndedError, until_signalled

PATIENCE = 10.0


class Part:
    """Runs until it is cancelled, and knows that it was."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


async def returns() -> None:
    await asyncio.sleep(0)


async def fails() -> None:
    raise ValueError("of its own")


async def run(*parts: object) -> None:
    await asyncio.wait_for(until_signalled(*parts), PATIENCE)


async def test_a_part_that_returns_ends_the_others_and_is_named() -> None:
    other = Part()
    with pytest.raises(EndedError, match="returns has ended"):
        await run(other.run(), returns())
    assert other.ended


async def test_a_part_that_fails_ends_the_others() -> None:
    other = Part()
    with pytest.raises(ValueError, match="of its own"):
        await run(other.run(), fails())
    assert other.ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_all_without_an_error(number: signal.Signals) -> None:
    async def ends_well() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    async def sends() -> None:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    other = Part()
    await run(other.run(), ends_well(), sends())
    assert other.ended
