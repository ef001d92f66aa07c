"""Who an Envoy says it is, judged: whoever has taken over an Envoy can say anything.

Its id names files in a folder that it shares with the agent, its addresses are where clients are sent, and the time at
which it started decides who serves.
"""

import re
import time
from collections.abc import Collection
from typing import Any

from agent.ir.addresses import Addresses, canonical
from agent.ir.envoy import Envoy

# A Pod's or a host's name: one word, no path. RFC 1123 has lower case only, hosts do not keep to it.
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
# Of CLOCK_MONOTONIC in ns: what clocks of two processes on one machine may differ by.
_AHEAD = 1_000_000_000
MAX_ROOM = 2**20


class NodeError(Exception):
    """What an Envoy says of itself cannot be; the message names the field."""


def is_id(text: str) -> bool:
    """Whether an Envoy may have this id."""
    return _ID.fullmatch(text) is not None


def identify(node: Any, default: Addresses, allowed: Collection[str]) -> Envoy:
    """An Envoy by its node (`envoy.config.core.v3.Node`). One of an earlier version has one `address`, or says neither
    where nor since when.

    `default` are the addresses of one that names none, none where they are not known. `allowed` are the addresses of
    the waypoints' pods on this node, empty where none is known. Raises `NodeError`.
    """
    fields = {name: value.string_value for name, value in node.metadata.fields.items()}
    if not is_id(node.id):
        raise NodeError(f"node.id: {node.id[:300]!a} is no name")
    started = _number(fields, "started", time.monotonic_ns() + _AHEAD)
    room = _number(fields, "room", MAX_ROOM)
    name = "addresses" if fields.get("addresses") else "address"
    addresses = _addresses(name, fields.get(name) or str(default), allowed)
    return Envoy(started, node.id, addresses, room)


def _number(fields: dict[str, str], name: str, most: int) -> int:
    text = fields.get(name) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
        raise NodeError(f"node.metadata.{name}: {text[:40]!a} is not a number from 0 to {most}")
    return int(text)


def _addresses(name: str, text: str, allowed: Collection[str]) -> Addresses:
    try:
        found = Addresses.parse(text)
    except ValueError:
        raise NodeError(f"node.metadata.{name}: {text[:100]!a} is not one IP address of each family") from None
    known = set(map(canonical, allowed))
    for address in found:
        if known and address not in known:
            raise NodeError(f"node.metadata.{name}: {address} is no waypoint pod's of this node")
    return found
