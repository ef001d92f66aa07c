"""What `weft explain` says of policies at the server's end."""

from collections.abc import Iterable
from typing import Any

import pytest

from agent.explain.admission import with_admissions
from agent.ir.authorization import GrantKey, account_id, peer_row
from agent.ir.tables import address_bytes
from support.fakes.kernel import FakeKernel

KERNEL = FakeKernel()
KERNEL.servers.rows = {address_bytes("10.1.0.5"): 1, address_bytes("fd00::5"): 1}
KERNEL.peers.rows = {address_bytes(address): peer_row("shop", "alice") for address in ("10.1.0.9", "fd00::9")}
KERNEL.grants.rows = {GrantKey(1, account_id("shop", "alice"), 80): True}
KERNEL.audited.rows = {address_bytes("10.1.0.5"): 2, address_bytes("10.1.0.7"): 2}
KERNEL.audited_grants.rows = {GrantKey(2, account_id("shop", "alice"), 81): True}
STATUS = {
    "protectedPods": [{"pod": "shop/web", "policies": ["p"]}],
    "auditedPods": [{"pod": "shop/web", "policies": ["a"]}, {"pod": "shop/tried", "policies": ["a"]}],
}


def admission(
    *addresses: str, to: str = "10.1.0.5", port: int = 80, pod: str = "shop/web", client: str = "shop/client"
) -> Any:
    outcome = {"pod": pod, "address": to, "port": port}
    return outcomes(outcome, client, addresses)["admission"]


def outcomes(outcome: dict[str, Any], client: str, addresses: Iterable[str]) -> dict[str, Any]:
    document = {"pod": client, "client": {"addresses": list(addresses)}, "outcomes": [outcome]}
    (found,) = with_admissions([document], STATUS, KERNEL)
    changed: dict[str, Any] = found["outcomes"][0]
    return changed


def test_a_pod_without_policies_says_nothing():
    assert admission("10.1.0.9", pod="shop/other") is None


@pytest.mark.parametrize(
    ("addresses", "to", "port", "admitted"),
    [
        (["10.1.0.9", "fd00::9"], "10.1.0.5", 80, True),
        (["10.1.0.9", "fd00::9"], "fd00::5", 80, True),
        (["10.1.0.9"], "10.1.0.5", 81, False),
        (["10.1.0.8"], "10.1.0.5", 80, False),
        (["fd00::9"], "10.1.0.5", 80, False),
        ([], "10.1.0.5", 80, False),
        (["10.1.0.9"], "10.1.0.6", 80, False),
    ],
    ids=["ipv4", "ipv6", "other port", "other client", "other family", "no address", "unknown server address"],
)
def test_the_grants_of_the_pod_decide(addresses: list[str], to: str, port: int, admitted: bool):
    assert admission(*addresses, to=to, port=port) == {"admitted": admitted, "policies": ["p"]}


def test_a_pod_admits_itself():
    assert admission("10.1.0.5", client="shop/web")["admitted"]


@pytest.mark.parametrize(
    ("pod", "to", "port", "admitted", "would"),
    [
        ("shop/web", "10.1.0.5", 80, True, False),
        ("shop/web", "10.1.0.5", 81, False, True),
        ("shop/tried", "10.1.0.7", 81, None, True),
        ("shop/tried", "10.1.0.7", 80, None, False),
    ],
)
def test_an_audit_says_what_would_be_admitted(pod: str, to: str, port: int, admitted: bool | None, would: bool):
    found = outcomes({"pod": pod, "address": to, "port": port}, "shop/client", ["10.1.0.9"])
    assert (found["admission"] or {"admitted": None})["admitted"] == admitted
    assert found["audit"] == {"admitted": would, "policies": ["a"]}
