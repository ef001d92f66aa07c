"""Does a listener accept connections? An acknowledgement alone does not say so."""

import asyncio

PROBE_SECONDS = 1.0


async def accepts(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted within a second. What becomes of it afterwards is the listener's affair."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PROBE_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
