"""Runs in a pod: sends files as they are to servers, each on a connection of its own, and tells what came of it.

Arguments: a folder with gunicorn's `*.http` files, then hosts. Prints one JSON object: host → file → outcome.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

# Nothing more comes on a connection that was silent for so long; all are silent at the same time.
SILENCE = 8.0
_ESCAPE = re.compile(rb"\\(r|n|t|0|x[0-9A-Fa-f]{2})")
_ESCAPED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}


def request_of(text: bytes) -> bytes:
    """The bytes that a file means: its own line ends mean nothing, the escaped ones do."""
    return _ESCAPE.sub(
        lambda found: _ESCAPED.get(found[1]) or bytes.fromhex(found[1][1:].decode()), text.replace(b"\n", b"")
    )


def outcome(answer: bytes, ended: bool) -> dict[str, object]:
    """Statuses in their order, what the echo server says that it saw, and whether the connection was closed."""
    lines = answer.split(b"\n")
    statuses = [int(line.split()[1]) for line in lines if re.match(rb"HTTP/1\.[01] \d{3}", line)]
    return {"statuses": statuses, "seen": [json.loads(line) for line in lines if line.startswith(b"{")], "ended": ended}


async def send(host: str, request: bytes) -> dict[str, object]:
    """One file's outcome at one server."""
    reader, writer = await asyncio.open_connection(host, 80)
    writer.write(request)
    answer, ended = b"", False
    try:
        while not ended:
            piece = await asyncio.wait_for(reader.read(65536), SILENCE)
            answer, ended = answer + piece, not piece
    except ConnectionError:
        ended = True
    except TimeoutError:
        pass
    writer.close()
    return outcome(answer, ended)


async def main(folder: str, hosts: list[str]) -> None:
    """Everything at once."""
    files = sorted(Path(folder).glob("*/*.http"))
    cases = [(host, file) for host in hosts for file in files]
    found = await asyncio.gather(*(send(host, request_of(file.read_bytes())) for host, file in cases))
    result: dict[str, dict[str, object]] = {host: {} for host in hosts}
    for (host, file), one in zip(cases, found, strict=True):
        result[host][f"{file.parent.name}/{file.stem}"] = one
    print(json.dumps(result))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
