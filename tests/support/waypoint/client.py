"""One HTTP/1.1 request as exactly these headers, and what came back."""

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The response. `seen` is the request as the server received it, empty when no server answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """The echo server's account of the request."""
        return dict(json.loads(self.body.splitlines()[0])) if self.body.startswith(b"{") else {}

    @property
    def pod(self) -> str:
        """The server's name, or the status if Envoy answered."""
        return str(self.seen.get("pod", self.status))

    def values(self, name: str) -> list[str]:
        """Every value of a response header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def sent(self, name: str) -> list[str]:
        """Every value of a request header, as the server saw it."""
        return [value for key, value in self.seen["headers"] if key.lower() == name.lower()]


def exchange(
    connection: http.client.HTTPConnection,
    path: str = "/",
    *,
    method: str = "GET",
    host: str = "app",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
) -> Answer:
    """Send exactly these headers and a Host, with a body also its Content-Length, and read the answer."""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", host), *headers):
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    return Answer(response.status, tuple(response.getheaders()), response.read())
