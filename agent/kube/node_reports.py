"""WeftNodes as agents read them: their collection, and what is kept of them.

An agent of another node may be in the hands of an attacker, so the bounds of the schema are applied again.
"""

import socket
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import msgspec

from agent.kube.collection import Collection
from agent.model.change import Keyed, Problem
from agent.model.facts import NodeReport
from agent.model.weft_node import (
    KIND,
    MAX_ADDRESSES,
    MAX_GUARDED,
    MAX_KEY_GENERATION,
    MAX_KEYS,
    MAX_POLICIES,
    MAX_TEXT,
    MAX_WAYPOINTS,
    VERSION,
    Guarded,
    PolicyGeneration,
    Tunnels,
    WeftNode,
)

KEY_BYTES = 32
_V4_MAPPED = bytes(10) + b"\xff\xff"


def node_reports() -> Collection:
    """The collection of all WeftNodes. That of this node tells what the other nodes can know of it."""
    return Collection(KIND, (VERSION,), read_node_report, defined=True)


def read_node_report(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    """What is kept of a WeftNode's JSON. Most nodes of a cluster without policies report nothing that is kept."""
    try:
        found = msgspec.json.decode(raw, type=WeftNode)
    except (msgspec.DecodeError, RecursionError, OverflowError) as error:
        return Problem(where, KIND, "$", str(error))
    status = found.status
    guarded = tuple(_guarded(status.guarded[:MAX_GUARDED]))
    waypoints = _addresses(status.waypoints[:MAX_WAYPOINTS])
    tunnels = _tunnels(status.tunnels) if isinstance(status.tunnels, Tunnels) else None
    if not guarded and not waypoints and not tunnels:
        return ()
    return (NodeReport(found.metadata.name, waypoints, status.waypoint_policies is True, guarded, tunnels),)


def _tunnels(tunnels: Tunnels) -> Tunnels:
    """What is within the schema's bounds."""
    keys = (
        key for key in tunnels.keys if _is_key(key.public_key) and 0 < key.port < 1 << 16 and _known(key.generation)
    )
    sending = tuple(filter(_known, tunnels.sending[:MAX_KEYS]))
    reason = tunnels.unsupported and tunnels.unsupported[:MAX_TEXT]
    return Tunnels(tuple(islice(keys, MAX_KEYS)), sending, reason)


def _known(generation: int) -> bool:
    return 1 <= generation <= MAX_KEY_GENERATION


def _is_key(text: str) -> bool:
    """Whether it is 32 bytes in base64, in the one way in which the kernel's are written."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        return False
    return len(decoded) == KEY_BYTES and b64encode(decoded).decode() == text


def _guarded(entries: Iterable[Guarded]) -> Iterator[Guarded]:
    """The entries that are whole: with some of the policies alone, more clients would be refused."""
    for entry in entries:
        addresses = _addresses(entry.addresses[:MAX_ADDRESSES])
        if addresses and len(entry.policies) <= MAX_POLICIES:
            yield Guarded(sys.intern(entry.namespace), addresses, _shared(entry.policies))


@lru_cache(maxsize=10_000)
def _shared(policies: tuple[PolicyGeneration, ...]) -> tuple[PolicyGeneration, ...]:
    """Deduplicates equal values: the same policies select pods of many nodes."""
    return policies


def _addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts that are addresses, in canonical form."""
    return tuple(address for text in texts for address in _canonical(text))


def _canonical(text: str) -> Iterator[str]:
    """The address without the module `ipaddress`, which takes ten times as long: a report can have 4096."""
    try:
        if ":" not in text:
            socket.inet_pton(socket.AF_INET, text)
            yield text
            return
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return
    mapped = packed.startswith(_V4_MAPPED)
    yield socket.inet_ntop(socket.AF_INET, packed[-4:]) if mapped else socket.inet_ntop(socket.AF_INET6, packed)
