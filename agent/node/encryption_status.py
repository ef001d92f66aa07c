"""Encryption in the document of `weft status`, and in metrics."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from agent.encryption.values import Member, Observed, PeerState, device_of
from agent.explain.tunnels import Refusals
from agent.node.encryption_controller import EncryptionController, State
from agent.telemetry.metrics import Metrics

# WireGuard makes a new session every 120 s, and gives up an old one after 180 s.
SILENT_SECONDS = 180.0
# Nodes that have a series of their own.
MOST_NODES = 20


class Packets(StrEnum):
    """What happens to packets to the pods of another node."""

    ENCRYPTED = "encrypted"
    SILENT = "silent"
    PLAIN = "plain"
    REFUSED = "refused"


def encryption_document(controller: EncryptionController, now: float) -> dict[str, Any]:
    """The part of `weft status`. `now` is in seconds since 1970."""
    state = controller.state
    return {
        "mode": state.encryption.mode,
        "keyGeneration": state.encryption.key_generation,
        "podCIDRs": list(state.encryption.pod_cidrs),
        "ownCIDRs": list(state.own.cidrs) if state.own else [],
        "unsupported": controller.unsupported,
        "error": controller.error,
        "nodes": [_node(state, other, now) for other in state.others] if state.encryption.mode != "Off" else [],
    }


def _node(state: State, other: Member, now: float) -> dict[str, Any]:
    generation, peer = _tunnel(state.observed, other)
    age = now - peer.handshake if peer and peer.handshake else None
    return {
        "node": other.name,
        "podCIDRs": list(other.cidrs),
        "packets": _packets(state, peer, age).value,
        "keyGeneration": generation,
        "theirGenerations": list(other.tunnels.sending),
        "handshakeSeconds": age,
        "received": peer.received if peer else 0,
        "sent": peer.sent if peer else 0,
        "unsupported": other.tunnels.unsupported or "",
    }


def _tunnel(observed: Observed, other: Member) -> tuple[int | None, PeerState | None]:
    """The generation whose device has the routes to a node, and the node as its peer."""
    devices = {route.device for route in observed.routes if route.to in other.cidrs and route.device}
    for generation, device in observed.devices.items():
        if device_of(generation) in devices:
            keys = (key.public_key for key in other.tunnels.keys if key.generation == generation)
            return generation, next((device.peers[key] for key in keys if key in device.peers), None)
    return None, None


def _packets(state: State, peer: PeerState | None, age: float | None) -> Packets:
    if peer is None:
        return Packets.REFUSED if state.encryption.mode == "Strict" else Packets.PLAIN
    return Packets.SILENT if age is None or age > SILENT_SECONDS else Packets.ENCRYPTED


class Unreached:
    """Whether the node refuses packets to an address, as encryption has no tunnel there: asked for each failed
    connection, so the ranges are read once for each state.
    """

    def __init__(self, controller: EncryptionController) -> None:
        self._controller = controller
        self._state: State | None = None
        self._refusals = Refusals(encryption_document(controller, 0))

    def __call__(self, address: str) -> bool:
        """The answer, by the latest state."""
        if self._state is not self._controller.state:
            self._state = self._controller.state
            self._refusals = Refusals(encryption_document(self._controller, time.time()))
        return self._refusals.why(address) is not None


def register_encryption(metrics: Metrics, controller: EncryptionController) -> None:
    """Register the metrics of tunnels."""
    metrics.register_gauges(
        "weft_encryption_nodes",
        "Other nodes, by what happens to packets to their pods. None while encryption is off.",
        "packets",
        lambda: _counts(controller),
    )
    metrics.register_gauges(
        "weft_encryption_silent_seconds",
        "Seconds since a node that is silent answered: of at most 20, the longest.",
        "peer",
        lambda: silent(encryption_document(controller, time.time())["nodes"]),
    )
    metrics.register_counters(
        "weft_encryption_bytes",
        "Bytes in tunnels to other nodes, with those that WireGuard adds.",
        "direction",
        lambda: {"received": controller.traffic.received, "sent": controller.traffic.sent},
    )
    metrics.register_gauge(
        "weft_encryption_unsupported",
        "Whether the node cannot encrypt as MeshParameters ask for, or its tunnels are not in step.",
        lambda: bool(controller.unsupported or controller.error),
    )


def _counts(controller: EncryptionController) -> dict[str, int]:
    nodes = encryption_document(controller, time.time())["nodes"]
    return {packets.value: 0 for packets in Packets} | Counter(node["packets"] for node in nodes) if nodes else {}


def silent(nodes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many seconds nodes have been silent, of the document's `nodes`. Of one without a handshake that is not known:
    it has the least that any has.
    """
    ages = {
        node["node"]: int(node["handshakeSeconds"] or SILENT_SECONDS)
        for node in nodes
        if node["packets"] == Packets.SILENT.value
    }
    return dict(sorted(ages.items(), key=lambda found: (-found[1], found[0]))[:MOST_NODES])
