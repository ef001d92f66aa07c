"""Running the parts of a process together, until it is told to stop."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def until_signalled(*parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until SIGTERM or SIGINT; the first part that fails takes the others with it."""
    loop = asyncio.get_running_loop()
    tasks = [asyncio.ensure_future(part) for part in parts]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        return
    finally:
        for task in tasks:
            # Once is enough: a second time would interrupt what a part does to end well.
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
