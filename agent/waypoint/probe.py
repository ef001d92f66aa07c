"""Does a listener accept connections? An acknowledgement alone does not say so."""

import asyncio

PROBE_SECONDS = 1.0


async def accepts(address: str, port: int) -> bool | None:
    """Whether a TCP connection is accepted within a second. What becomes of it afterwards is the listener's affair.

    None: our own programs refused it, because the agent's pod is not in their table yet. That says nothing.
    """
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), PROBE_SECONDS)
    except PermissionError:
        return None
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
