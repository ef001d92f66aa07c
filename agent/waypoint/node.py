"""Validation of an Envoy's node: an attacker who controls an Envoy can send any.

Its id names files in a folder that it shares with the agent. Clients are sent to its addresses. The time at which it
started decides which Envoy is active.
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
MAX_LISTENERS = 2**20
MAX_CONNECTIONS = 2**31


class NodeError(Exception):
    """An Envoy's node is not valid; the message names the field."""


def is_id(text: str) -> bool:
    """Whether an Envoy may have this id."""
    return _ID.fullmatch(text) is not None


def identify(node: Any, default: Addresses, allowed: Collection[str]) -> Envoy:
    """The Envoy of a node message (`envoy.config.core.v3.Node`). An earlier version sends one `address`, or neither
    addresses nor a start time.

    `default` are the addresses of an Envoy whose node has none, empty where they are not known. `allowed` are the
    addresses of the waypoints' pods on this node, empty where none is known. Raises `NodeError`.
    """
    fields = {name: value.string_value for name, value in node.metadata.fields.items()}
    if not is_id(node.id):
        raise NodeError(f"node.id: {node.id[:300]!a} is no name")
    started = _number(fields, "started", time.monotonic_ns() + _AHEAD)
    max_listeners = _number(fields, "room", MAX_LISTENERS)
    name = "addresses" if fields.get("addresses") else "address"
    addresses = _addresses(name, fields.get(name) or str(default), allowed)
    return Envoy(started, node.id, addresses, max_listeners, _number(fields, "connections", MAX_CONNECTIONS))


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
