"""The probe that the kubelet executes in a container: one GET on a Unix socket, which the network cannot reach.

`python -m agent.probe SOCKET PATH [TEXT]` exits with 0 when the status is 200, or when the body is TEXT. In SOCKET
`{host}` is the host name. It runs every few seconds on each node, so it imports almost nothing.
"""

import socket
import sys
from collections.abc import Iterator

SECONDS = 5.0
_ANSWER_LIMIT = 65536


def get(path: str, url: str) -> tuple[int, str]:
    """Status and body of the response. Raises `OSError`, and `ValueError` for a response that is not HTTP."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        connection.sendall(f"GET {url} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < _ANSWER_LIMIT and (piece := connection.recv(_ANSWER_LIMIT)):
            answer += piece
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    text = "".join(_chunks(body)) if "transfer-encoding: chunked" in head.lower() else body
    return int(head.partition(" ")[2].partition(" ")[0]), text.strip()


def _chunks(body: str) -> Iterator[str]:
    """The chunks of a chunked body: the only encoding of Envoy's admin interface. Raises `ValueError`."""
    while body:
        size, _, rest = body.partition("\r\n")
        length = int(size, 16)
        yield rest[:length]
        body = rest[length + 2 :]


def main(arguments: list[str]) -> int:
    """The exit code. The reason of a failure goes to standard output, where the kubelet reads it."""
    path, url, *accepted = (argument.replace("{host}", socket.gethostname()) for argument in arguments)
    try:
        status, body = get(path, url)
    except (OSError, ValueError) as error:
        return _fail(f"{path}: {error}")
    if status == 200 or body in accepted:
        return 0
    return _fail(f"{status} {body}")


def _fail(why: str) -> int:
    sys.stdout.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
