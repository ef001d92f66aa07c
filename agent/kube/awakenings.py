"""Waiting for one of two things."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def either(items: AsyncGenerator[T, None], event: asyncio.Event) -> AsyncIterator[T | None]:
    """Yields each item, and None whenever the event alone is set. It is cleared. Ends with the items."""
    item = asyncio.ensure_future(anext(items))
    event_set = asyncio.ensure_future(event.wait())
    try:
        while True:
            await asyncio.wait((item, event_set), return_when=asyncio.FIRST_COMPLETED)
            found = None
            if item.done():
                try:
                    found = item.result()
                except StopAsyncIteration:
                    return
                item = asyncio.ensure_future(anext(items))
            if event_set.done():
                event.clear()
                event_set = asyncio.ensure_future(event.wait())
            yield found
    finally:
        item.cancel()
        event_set.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await item
        await items.aclose()
