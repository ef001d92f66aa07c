"""Runs the parts of a process together, until a signal ends it."""

import asyncio
import signal
from collections.abc import Coroutine, Sequence
from typing import Any


class EndedError(Exception):
    """A part that must run for ever has returned without an error."""


async def until_signalled(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until SIGTERM or SIGINT. When one part ends, the others are cancelled.

    Raises the exception of that part, or `EndedError` with its name where it returned: without it the process would
    only look healthy.
    """
    loop = asyncio.get_running_loop()
    tasks = [asyncio.ensure_future(part) for part in parts]
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    stop = asyncio.ensure_future(signalled.wait())
    try:
        await asyncio.wait((stop, *tasks), return_when=asyncio.FIRST_COMPLETED)
        if not signalled.is_set():
            _explain_end(tasks)
    except asyncio.CancelledError:
        return
    finally:
        for task in (stop, *tasks):
            task.cancel()
        await asyncio.gather(stop, *tasks, return_exceptions=True)


def _explain_end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raise the exception of the part that ended first."""
    for task in tasks:
        if task.done():
            task.result()
            raise EndedError(f"{getattr(task.get_coro(), '__qualname__', task.get_name())} has ended")
