"""WireGuard's messages about a device, as the kernel sends them: encoded by pyroute2 and read again."""

from base64 import b64encode

from pyroute2.netlink.generic.wireguard import WG_CMD_SET_DEVICE, wgmsg

from agent.encryption.values import Peer, PeerState
from agent.kernel.wireguard import device_state

OURS, FIRST, SECOND = (b64encode(bytes([number]) * 32).decode() for number in range(3))


def allowed(address: bytes, family: int, length: int) -> dict[str, object]:
    attributes = [("FAMILY", family), ("IPADDR", address), ("CIDR_MASK", length)]
    return {"attrs": [(f"WGALLOWEDIP_A_{name}", value) for name, value in attributes]}


def message(*peers: list[tuple[str, object]], **device: object) -> wgmsg:
    made = wgmsg()
    made["cmd"] = WG_CMD_SET_DEVICE
    made["header"]["type"] = 30
    made["attrs"] = [(f"WGDEVICE_A_{name}", value) for name, value in device.items()]
    made["attrs"].append(("WGDEVICE_A_PEERS", [{"attrs": [(f"WGPEER_A_{n}", v) for n, v in peer]} for peer in peers]))
    made.encode()
    found = wgmsg(made.data)
    found.decode()
    return found


def test_a_device_and_its_peers() -> None:
    four, six = allowed(bytes((10, 244, 2, 0)), 2, 24), allowed(bytes((0xFD,)) + bytes(15), 10, 8)
    first: list[tuple[str, object]] = [
        ("PUBLIC_KEY", FIRST),
        ("ENDPOINT", {"addr": "10.0.0.2", "port": 51871}),
        ("LAST_HANDSHAKE_TIME", {"tv_sec": 1700000000, "tv_nsec": 5}),
        ("RX_BYTES", 7),
        ("TX_BYTES", 8),
        ("ALLOWEDIPS", [four]),
    ]
    messages = [
        message(first, PUBLIC_KEY=OURS),
        message([("PUBLIC_KEY", FIRST), ("ALLOWEDIPS", [six])], [("PUBLIC_KEY", SECOND)]),
    ]
    assert device_state(messages) == (
        OURS,
        {
            FIRST: PeerState(
                Peer(FIRST, "10.0.0.2", 51871, frozenset({"10.244.2.0/24", "fd00::/8"})), 1700000000, 7, 8
            ),
            SECOND: PeerState(Peer(SECOND, "", 0, frozenset()), 0, 0, 0),
        },
    )


def test_a_device_without_a_key() -> None:
    assert device_state([]) == ("", {})
