"""Waiting for one of two things."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress


async def either(items: AsyncGenerator[object, None], event: asyncio.Event) -> AsyncIterator[None]:
    """Yields for each item, and whenever the event is set, which is cleared. Ends with the items."""
    item = asyncio.ensure_future(anext(items))
    event_set = asyncio.ensure_future(event.wait())
    try:
        while True:
            await asyncio.wait((item, event_set), return_when=asyncio.FIRST_COMPLETED)
            if item.done():
                try:
                    item.result()
                except StopAsyncIteration:
                    return
                item = asyncio.ensure_future(anext(items))
            if event_set.done():
                event.clear()
                event_set = asyncio.ensure_future(event.wait())
            yield
    finally:
        item.cancel()
        event_set.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await item
        await items.aclose()
