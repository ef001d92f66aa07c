"""What the kubelet runs to learn how a container is: one GET on a Unix socket, which nobody on the network can reach.

`python -m agent.probe SOCKET PATH [TEXT]` exits with 0 when the answer is 200, or when its body is TEXT. In SOCKET
`{host}` is this host's name. It runs every few seconds on each node, so it imports next to nothing.
"""

import socket
import sys
from collections.abc import Iterator

SECONDS = 5.0
_ANSWER_LIMIT = 65536


def ask(path: str, url: str) -> tuple[int, str]:
    """Status and body of the answer. Raises `OSError`, and `ValueError` for what is no HTTP."""
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
    """Envoy's admin interface knows no other form. Raises `ValueError`."""
    while body:
        size, _, rest = body.partition("\r\n")
        length = int(size, 16)
        yield rest[:length]
        body = rest[length + 2 :]


def main(arguments: list[str]) -> int:
    """The exit code; what is wrong goes to standard output, where the kubelet looks for it."""
    path, url, *accepted = (argument.replace("{host}", socket.gethostname()) for argument in arguments)
    try:
        status, body = ask(path, url)
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
