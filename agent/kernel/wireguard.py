"""WireGuard devices by generic netlink (linux/wireguard.h). The kernel makes the public key of a private one, and keeps
both.
"""

import os
from base64 import b64encode
from collections.abc import Iterable
from contextlib import closing
from typing import Protocol

from pyroute2 import WireGuard
from pyroute2.netlink.generic.wireguard import wgmsg

from agent.encryption.values import Peer, PeerState
from agent.kernel.netlink import with_own_capabilities

KIND = "wireguard"
# Seconds between packets that keep a session, and show that the peer is there.
KEEPALIVE_SECONDS = 25
_KEY_BYTES = 32


class Crypto(Protocol):
    """What of a device is not a link's. A test has one of its own, as not every kernel has WireGuard."""

    def furnish(self, name: str, port: int) -> None:
        """Give a device a new private key, and its UDP port. Raises `OSError`, `NetlinkError`."""

    def read(self, name: str) -> tuple[str, dict[str, PeerState]]:
        """The public key of a device, empty without one, and its peers by theirs. Raises as `furnish`."""

    def put(self, name: str, peer: Peer) -> None:
        """Add a peer, or change it. Raises as `furnish`."""

    def remove(self, name: str, public_key: str) -> None:
        """Remove a peer. Raises as `furnish`."""


class KernelWireGuard:
    """By a netlink socket, given by a descriptor that stays open: each call uses a copy."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def furnish(self, name: str, port: int) -> None:
        """The private key is nowhere else: whoever may read it could make the agent use another."""
        with self._socket() as wireguard:
            wireguard.set(name, private_key=b64encode(os.urandom(_KEY_BYTES)).decode(), listen_port=port)

    def read(self, name: str) -> tuple[str, dict[str, PeerState]]:
        """See `Crypto`."""
        with self._socket() as wireguard:
            return device_state(wireguard.info(name))

    def put(self, name: str, peer: Peer) -> None:
        """See `Crypto`."""
        with self._socket() as wireguard:
            wireguard.set(
                name,
                peer={
                    "public_key": peer.public_key,
                    "endpoint_addr": peer.address,
                    "endpoint_port": peer.port,
                    "persistent_keepalive": KEEPALIVE_SECONDS,
                    "replace_allowed_ips": True,
                    "allowed_ips": sorted(peer.allowed),
                },
            )

    def remove(self, name: str, public_key: str) -> None:
        """See `Crypto`."""
        with self._socket() as wireguard:
            wireguard.set(name, peer={"public_key": public_key, "remove": True})

    def _socket(self) -> closing[WireGuard]:
        return closing(with_own_capabilities(WireGuard(fileno=os.dup(self._descriptor))))


def device_state(messages: Iterable[wgmsg]) -> tuple[str, dict[str, PeerState]]:
    """The public key and the peers in the kernel's messages about a device. Later ones continue the last peer."""
    public_key = ""
    found: dict[str, PeerState] = {}
    for message in messages:
        public_key = _text(message.get_attr("WGDEVICE_A_PUBLIC_KEY")) or public_key
        for attributes in message.get_attr("WGDEVICE_A_PEERS") or ():
            state = _peer(attributes)
            before = found.get(state.peer.public_key)
            found[state.peer.public_key] = _joined(before, state) if before else state
    return public_key, found


def _joined(before: PeerState, more: PeerState) -> PeerState:
    """A peer whose ranges are in two messages: the second one has its key and ranges only."""
    return before._replace(peer=before.peer._replace(allowed=before.peer.allowed | more.peer.allowed))


def _peer(attributes: wgmsg.wgdevice_peer) -> PeerState:
    endpoint = attributes.get_attr("WGPEER_A_ENDPOINT") or {"addr": "", "port": 0}
    ranges = attributes.get_attr("WGPEER_A_ALLOWEDIPS") or ()
    handshake = attributes.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME") or {"tv_sec": 0}
    return PeerState(
        Peer(
            _text(attributes.get_attr("WGPEER_A_PUBLIC_KEY")),
            endpoint["addr"],
            endpoint["port"],
            frozenset(item["addr"] for item in ranges),
        ),
        handshake["tv_sec"],
        attributes.get_attr("WGPEER_A_RX_BYTES") or 0,
        attributes.get_attr("WGPEER_A_TX_BYTES") or 0,
    )


def _text(key: bytes | str | None) -> str:
    return key.decode() if isinstance(key, bytes) else key or ""
