"""The echo server's answers, and the parameters by which a client controls them."""

import os
from asyncio import BaseTransport
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from agent.ir.tables import host_port

POD = os.environ.get("POD_NAME", "")
NAMESPACE = os.environ.get("POD_NAMESPACE", "")


@dataclass(frozen=True, slots=True)
class Facts:
    """The constant facts of a connection: protocol, and both addresses as the server sees them."""

    protocol: str
    peer: str
    local: str


@dataclass(frozen=True, slots=True)
class Controls:
    """The parameters after the `?`: a status, a delay in seconds, no answer, a number of additional bytes."""

    status: int = 200
    wait: float = 0.0
    close: bool = False
    body: int = 0

    @classmethod
    def of(cls, text: str) -> "Controls":
        """Parse a path or line. An invalid parameter resets all to their defaults."""
        query = text.partition("?")[2]
        if not query:
            return _NONE
        options = {name: values[0] for name, values in parse_qs(query).items()}
        try:
            return cls(
                status=int(options.get("status", 200)),
                wait=float(options.get("wait", 0)),
                close=options.get("close") == "1",
                body=int(options.get("body", 0)),
            )
        except ValueError:
            return _NONE


_NONE = Controls()


def facts_of(transport: BaseTransport, protocol: str) -> Facts:
    """The facts of a connection."""
    return Facts(protocol, _address(transport, "peername"), _address(transport, "sockname"))


def _address(transport: BaseTransport, which: str) -> str:
    address = transport.get_extra_info(which)
    return host_port(address[0], address[1]) if address else ""


def answer(facts: Facts, **seen: Any) -> bytes:
    """One JSON object on one line."""
    return msgspec.json.encode(
        {
            "pod": POD,
            "namespace": NAMESPACE,
            "protocol": facts.protocol,
            "peer": facts.peer,
            "local": facts.local,
            **seen,
        }
    )
