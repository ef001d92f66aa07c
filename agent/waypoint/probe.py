"""Does a listener accept connections? An acknowledgement alone does not say so."""

import asyncio

PROBE_SECONDS = 1.0


async def accepts(address: str, port: int) -> bool | None:
    """Whether a TCP connection is accepted within a second. What the listener does with it afterwards is not checked.

    None: not known, because weft's own BPF programs refused it; the agent's pod is not in their table yet.
    """
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except PermissionError:
        return None
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
