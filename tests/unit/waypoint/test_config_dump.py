"""What dumps say, and how far that is from what an Envoy acknowledged."""

import msgspec
import pytest

from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.config_dump import Drift, addresses, compare, read, shown

C, E, X, L, R = (
    ResourceType.CLUSTER,
    ResourceType.ENDPOINT,
    ResourceType.EXTENSION,
    ResourceType.LISTENER,
    ResourceType.ROUTE,
)
A, B = ResourceName(L, "a"), ResourceName(C, "b")


def assignment(*endpoints: tuple[str, int]) -> dict[str, object]:
    sockets = [{"address": {"socket_address": {"address": where, "port_value": port}}} for where, port in endpoints]
    return {"cluster_name": "b", "endpoints": [{"lb_endpoints": [{"endpoint": item} for item in sockets]}]}


@pytest.mark.parametrize(
    ("kind", "entry", "found"),
    [
        (C, {"version_info": "1", "cluster": {"name": "b"}}, [("b", "1")]),
        (R, {"version_info": "1", "route_config": {"name": "r"}}, [("r", "1")]),
        (X, {"ecds_filters": [{"version_info": "1", "ecds_filter": {"name": "x"}}]}, [("x", "1")]),
        (X, {"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"}, []),
        (L, {"name": "a", "active_state": {"version_info": "1"}}, [("a", "1")]),
        (
            L,
            {"name": "a", "active_state": {"version_info": "1"}, "warming_state": {"version_info": "2"}},
            [("a", "1"), ("a", "2")],
        ),
        (L, {"name": "a", "draining_state": {"version_info": "1"}}, []),
        (E, {"endpoint_config": assignment(("10.0.0.2", 1), ("10.0.0.1", 2))}, [("b", "10.0.0.1!2 10.0.0.2!1")]),
        (E, {"endpoint_config": {"cluster_name": "b"}}, [("b", "")]),
    ],
)
def test_a_dump_is_read(kind, entry, found):
    dump = msgspec.json.encode({"configs": [entry]}).decode()
    assert list(read(kind, dump)) == [(ResourceName(kind, name), version) for name, version in found]


def test_a_dump_of_nothing():
    assert list(read(C, "{}")) == []


def test_addresses_are_the_same_however_they_are_written_and_ordered():
    assert addresses(assignment(("fd00:0::1", 1), ("10.0.0.1", 2))) == addresses(
        assignment(("10.0.0.1", 2), ("fd00::1", 1), ("fd00::1", 1))
    )


def test_endpoints_are_shown_by_their_addresses_and_the_rest_by_version():
    assert shown(ResourceName(E, "b"), assignment(("10.0.0.1", 2)), "7") == "10.0.0.1!2"
    assert shown(A, {}, "7") == "7"


@pytest.mark.parametrize(
    ("believed", "sent", "served", "drift"),
    [
        ({A: "1", B: "1"}, {A, B}, {A: {"1"}, B: {"0", "1"}}, Drift()),
        ({A: "1"}, {A}, {}, Drift(lacks=frozenset({A}))),
        ({A: "1"}, {A}, {A: {"0"}}, Drift(lacks=frozenset({A}))),
        ({}, {A}, {A: {"0"}}, Drift()),
        ({}, set(), {A: {"1"}, B: {"1"}}, Drift(keeps=frozenset({A, B}))),
        ({}, set(), {ResourceName(R, "r"): {"1"}}, Drift()),
    ],
    ids=["none", "missing", "old", "not acknowledged", "left over", "still used"],
)
def test_what_is_drift(believed, sent, served, drift):
    assert compare(believed, sent, served) == drift


def test_drift_of_two_looks_is_what_both_found():
    first, second = Drift(frozenset({A}), frozenset({B})), Drift(frozenset({A, B}))
    assert (first & second, len(first), bool(Drift())) == (Drift(frozenset({A})), 2, False)
    assert first.lines() == [
        "Cluster b: served, and not part of the configuration",
        "Listener a: not served as acknowledged",
    ]


def test_a_type_that_no_dump_shows_is_not_audited():
    layer = ResourceName(ResourceType.RUNTIME, "weft")
    assert not compare({layer: "1"}, [layer], {})
