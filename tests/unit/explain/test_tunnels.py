"""Where mode Strict refuses packets, by the agent's state of encryption."""

from typing import Any

import pytest

from agent.explain.tunnels import Refusals, with_tunnels

NO_WIREGUARD = "the kernel has no WireGuard"


def node(name: str, packets: str, *cidrs: str, unsupported: str = "") -> dict[str, Any]:
    return {"node": name, "packets": packets, "podCIDRs": list(cidrs), "unsupported": unsupported}


ENCRYPTION = {
    "mode": "Strict",
    "unsupported": "",
    "podCIDRs": ["10.244.0.0/16", "fd00::/48"],
    "ownCIDRs": ["10.244.0.0/24"],
    "nodes": [
        node("n2", "encrypted", "10.244.2.0/24"),
        node("n3", "refused", "10.244.3.0/24", "fd00:0:0:3::/64", unsupported=NO_WIREGUARD),
        node("n4", "refused", "10.244.4.0/24"),
        node("n5", "silent", "10.244.5.0/24"),
    ],
}


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.244.0.9", None),
        ("10.244.2.9", None),
        ("10.244.3.9", {"node": "n3", "reason": NO_WIREGUARD, "errno": "EHOSTUNREACH"}),
        ("fd00:0:0:3::9", {"node": "n3", "reason": NO_WIREGUARD, "errno": "EACCES"}),
        ("10.244.4.9", {"node": "n4", "reason": "it has not answered yet", "errno": "EHOSTUNREACH"}),
        ("10.244.5.9", None),
        ("10.244.9.9", {"node": "", "reason": "no node has the address", "errno": "EHOSTUNREACH"}),
        ("10.245.0.1", None),
        ("::ffff:10.244.3.9", None),
    ],
)
def test_an_address(address: str, why: dict[str, str] | None) -> None:
    assert Refusals(ENCRYPTION).why(address) == why
    for mode in ("Off", "Pods"):
        assert Refusals(ENCRYPTION | {"mode": mode}).why(address) is None


@pytest.mark.parametrize(
    ("outcome", "destination", "node"),
    [
        ({"reason": "forwarded", "address": "10.244.3.9"}, "10.96.0.1:80/TCP", "n3"),
        ({"reason": "forwarded", "address": "10.244.2.9"}, "10.96.0.1:80/TCP", None),
        ({"reason": "no_frontend", "address": None}, "10.244.3.9:80/TCP", "n3"),
        ({"reason": "not_enrolled", "address": None}, "[fd00:0:0:3::9]:80/TCP", "n3"),
        ({"reason": "no_backend", "address": None}, "10.244.3.9:80/TCP", None),
    ],
)
def test_an_outcome(outcome: dict[str, Any], destination: str, node: str | None) -> None:
    (found,) = with_tunnels([{"destination": destination, "outcomes": [outcome]}], {"encryption": ENCRYPTION})
    lacking = found["outcomes"][0]["noTunnel"]
    assert (lacking["node"] if lacking else None) == node
