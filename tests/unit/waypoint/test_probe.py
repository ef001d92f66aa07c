"""The probe tells a listener from none, whatever the listener does with the connection."""

import asyncio

from agent.waypoint.probe import accepts


async def test_a_listener_accepts_until_it_is_closed():
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await accepts("127.0.0.1", port)
    server.close()
    await server.wait_closed()
    assert not await accepts("127.0.0.1", port)


async def test_an_address_that_is_none_does_not_accept():
    assert not await accepts("not an address", 80)


async def test_a_cancelled_attempt_ends_as_cancelled_at_whatever_moment():
    """One that returned an answer instead would be repeated for ever, and the agent would not end."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for turns in range(30):
        attempt = asyncio.ensure_future(accepts("127.0.0.1", port))
        for _ in range(turns):
            await asyncio.sleep(0)
        if attempt.cancel():
            await asyncio.wait([attempt])
            assert attempt.cancelled(), f"after {turns} turns of the loop"
    server.close()
    await server.wait_closed()
