"""What an agent keeps of WeftNodes."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from agent.kube.node_reports import read_node_report
from agent.model.change import Problem
from agent.model.facts import NodeReport
from agent.model.weft_node import (
    MAX_ADDRESSES,
    MAX_GUARDED,
    MAX_KEY_GENERATION,
    MAX_POLICIES,
    MAX_TEXT,
    MAX_WAYPOINTS,
    Guarded,
    PolicyGeneration,
    TunnelKey,
    Tunnels,
)


def read(**status: Any) -> list[NodeReport]:
    raw = msgspec.json.encode({"kind": "WeftNode", "metadata": {"name": "n2", "uid": "u"}, "status": status})
    found = read_node_report(raw, "weftnodes/n2")
    assert not isinstance(found, Problem), found
    return [item for item in found if isinstance(item, NodeReport)]


def entry(*addresses: str, policies: int = 1) -> dict[str, Any]:
    named = [{"name": f"p{n}", "generation": n} for n in range(policies)]
    return {"namespace": "app", "addresses": addresses, "policies": named}


def test_what_a_node_reports_is_kept_with_addresses_in_canonical_form() -> None:
    (found,) = read(
        waypoints=["10.0.0.9", "fd00:0::9"], waypointPolicies=True, guarded=[entry("10.0.0.1", "::ffff:10.0.0.2")]
    )
    guarded = (Guarded("app", ("10.0.0.1", "10.0.0.2"), (PolicyGeneration("p0", 0),)),)
    assert found == NodeReport("n2", ("10.0.0.9", "fd00::9"), True, guarded)


def test_of_a_node_that_reports_nothing_of_the_kind_nothing_is_kept() -> None:
    assert read(rejected=[], rejectedCount=0) == read() == read(waypoints=[], guarded=[]) == []


def test_the_bounds_of_the_schema_are_applied_again() -> None:
    many = [entry(*(f"10.{n}.{m}.1" for m in range(MAX_ADDRESSES + 1))) for n in range(MAX_GUARDED - 1)]
    too_many_policies = entry("10.255.0.1", policies=MAX_POLICIES + 1)
    (found,) = read(
        waypoints=[f"10.0.0.{n}" for n in range(MAX_WAYPOINTS + 1)],
        guarded=[*many, too_many_policies, entry("10.0.9.9")],
    )
    assert len(found.waypoints) == MAX_WAYPOINTS
    assert len(found.guarded) == MAX_GUARDED - 1
    assert {len(item.addresses) for item in found.guarded} == {MAX_ADDRESSES}


def test_what_is_no_address_is_left_out() -> None:
    (found,) = read(waypoints=["localhost", "10.0.0.9"], guarded=[entry("x"), entry("10.0.0.1", "10.0.0.256")])
    assert found.waypoints == ("10.0.0.9",)
    assert [item.addresses for item in found.guarded] == [("10.0.0.1",)]


@pytest.mark.parametrize("status", [{"guarded": 1}, {"guarded": [{}]}, {"waypointPolicies": "yes"}])
def test_what_cannot_be_decoded_is_a_problem_that_names_the_object(status: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"metadata": {"name": "n2"}, "status": status})
    found = read_node_report(raw, "weftnodes/n2")
    assert isinstance(found, Problem)
    assert (found.where, found.subject) == ("weftnodes/n2", "WeftNode")


def key(generation: int = 1, public_key: str = b64encode(bytes(32)).decode(), port: int = 51871) -> dict[str, Any]:
    return {"generation": generation, "publicKey": public_key, "port": port}


@pytest.mark.parametrize(
    "bad",
    [
        key(0),
        key(MAX_KEY_GENERATION + 1),
        key(port=0),
        key(port=1 << 16),
        key(public_key=""),
        key(public_key=b64encode(bytes(31)).decode()),
        key(public_key="A" * 42 + "B="),
        key(public_key="*" * 44),
    ],
)
def test_keys_that_cannot_be_used_are_left_out(bad: dict[str, Any]) -> None:
    (found,) = read(tunnels={"keys": [bad, key(2)], "sending": [0, 2], "unsupported": "x" * 600})
    good = TunnelKey(2, b64encode(bytes(32)).decode(), 51871)
    assert found.tunnels == Tunnels((good,), (2,), "x" * MAX_TEXT)


def test_at_most_two_keys_are_read() -> None:
    (found,) = read(tunnels={"keys": [key(1), key(2), key(3)], "sending": [1, 2, 3]})
    assert found.tunnels
    assert ([it.generation for it in found.tunnels.keys], found.tunnels.sending) == ([1, 2], (1, 2))
