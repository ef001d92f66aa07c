"""Readiness probes, asked from the node as a kubelet does."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agent.ir.tables import host_port

_ECHO_STREAM_FLAGS = ("--http", "--grpc", "--tcp", "--greet")


@dataclass(frozen=True, slots=True)
class Probe:
    """A port that must accept, and with a path answer with 200 to 399. Times are in seconds.

    After `failure_threshold` failures in a row a ready pod is not ready any more (`failureThreshold` of core/v1).
    """

    address: str
    port: int
    path: str | None = None
    period: float = 1.0
    timeout: float = 1.0
    failure_threshold: int = 3

    async def check(self) -> bool:
        """Whether the probe succeeds now."""
        with suppress(OSError, TimeoutError, ValueError, IndexError):
            async with asyncio.timeout(self.timeout):
                reader, writer = await asyncio.open_connection(self.address, self.port)
                try:
                    return self.path is None or await self._get(reader, writer)
                finally:
                    writer.close()
        return False

    async def _get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        host = host_port(self.address, self.port)
        request = f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        status = await reader.readline()
        return 200 <= int(status.split()[1]) < 400


def with_probe(container: dict[str, Any]) -> dict[str, Any]:
    """The container; an echo server without a readiness probe gets one, of its first stream port."""
    port = _echo_port(container) if container.get("image") == "weft/echo" else None
    return container if port is None else {"readinessProbe": {"tcpSocket": {"port": port}}, **container}


def probe_of(container: dict[str, Any], address: str) -> Probe | None:
    """The probe that a container asks for."""
    spec = container.get("readinessProbe")
    if spec is None:
        return None
    wanted = spec.get("httpGet") or spec["tcpSocket"]
    return Probe(
        address=address,
        port=_number(container, wanted["port"]),
        path=wanted.get("path", "/") if "httpGet" in spec else None,
        period=float(spec.get("periodSeconds", 1)),
        timeout=float(spec.get("timeoutSeconds", 1)),
        failure_threshold=int(spec.get("failureThreshold", 3)),
    )


def _echo_port(container: dict[str, Any]) -> int | None:
    arguments = [str(argument) for argument in container.get("args") or ["--http", "8080"]]
    return next((int(value) for flag, value in pairwise(arguments) if flag in _ECHO_STREAM_FLAGS), None)


def _number(container: dict[str, Any], port: int | str) -> int:
    """A port by number or by its name on the container; raises StopIteration when the name is nowhere."""
    if isinstance(port, int):
        return port
    return next(int(item["containerPort"]) for item in container.get("ports", ()) if item.get("name") == port)
