"""Which waypoints the policies of this node's pods admit, and protected pods of other nodes as destinations."""

import pytest

from agent.ir.authorization import (
    ANY_PORT,
    WAYPOINTS,
    Destination,
    Grant,
    waypoint_row,
)
from agent.model.change import Delete, Upsert
from agent.model.facts import NodeWaypoints
from agent.model.meta import Key
from agent.model.weft_node import Guarded, PolicyGeneration
from support.policy_node import (
    ALICE,
    HERE,
    PROBE,
    THERE,
    PolicyNode,
    policy,
    remote,
    report,
    upserts,
)

ALICE_RULE = "[{sources: [{type: ServiceAccount, serviceAccount: {name: alice}}], networkAttributes: {ports: [80]}}]"
REPORTED = Guarded("shop", ("10.1.0.5", "fd00::5"), (PolicyGeneration("p", 0),))


def test_the_waypoints_of_nodes_that_run_an_allowed_client_are_admitted_at_the_ports_of_its_rule() -> None:
    node = PolicyNode()
    node.update(*upserts(policy(ALICE_RULE)), Upsert(remote("10.2.0.1")), Upsert(report(REPORTED, node="here")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(ALICE, 80), Grant(THERE, 80)}
    node.update(Upsert(remote("10.2.0.1", account="bob")))
    assert set(node.server.grants) == {PROBE, Grant(ALICE, 80)}
    node.update(*upserts(ALICE_POD))
    assert set(node.server.grants) == {PROBE, Grant(ALICE, 80), Grant(HERE, 80)}


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{port: 80}]}
"""
REQUESTS = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  action: ALLOW
  enforcementLevel: Application
  rules: RULES
"""
GET = "[{httpAttributes: {methods: [GET]}}]"


def test_a_policy_about_requests_admits_waypoints_and_the_kubelet_only() -> None:
    node = PolicyNode()
    node.update(*upserts(REQUESTS.replace("RULES", ALICE_RULE), SERVICE), Upsert(remote("10.2.0.1")))
    node.update(Upsert(report(REPORTED, node="here")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(THERE, 80)}
    node.update(*upserts(REQUESTS.replace("RULES", GET)))
    assert set(node.server.grants) == {PROBE, Grant(WAYPOINTS, ANY_PORT)}
    node.update(*upserts(policy(ALICE_RULE, "network")))
    both = Guarded("shop", REPORTED.addresses, (PolicyGeneration("network", 0), PolicyGeneration("p", 0)))
    node.update(Upsert(report(both, node="here")))
    assert set(node.server.grants) == {PROBE, Grant(THERE, 80)}
    assert [key.name for key in node.server.policies] == ["p", "network"], "a refusal names the first"


def test_waypoints_of_other_nodes_wait_for_the_report_of_a_policy_about_requests() -> None:
    node = PolicyNode()
    node.update(*upserts(REQUESTS.replace("RULES", GET), SERVICE), Upsert(remote("10.2.0.1")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(HERE, ANY_PORT)}


def test_a_pod_of_another_node_under_a_policy_about_requests_is_no_destination_of_a_direct_connection() -> None:
    node = PolicyNode()
    other = Guarded("shop", ("10.2.0.5",), (PolicyGeneration("p", 0),))
    slices = SLICE.replace("NODE", "there")
    node.update(*upserts(REQUESTS.replace("RULES", ALICE_RULE), slices), Upsert(report(other)))
    assert node.destinations == {"10.2.0.5": Destination((), Key("AuthorizationPolicy", "shop", "p"))}


ALICE_POD = """
apiVersion: v1
kind: Pod
metadata: {name: alice, namespace: shop, uid: u-2}
spec: {nodeName: here, serviceAccountName: alice, containers: []}
status: {phase: Running, podIPs: [{ip: 10.1.0.6}]}
"""


@pytest.mark.parametrize(
    "reported",
    [
        (),
        (Guarded("shop", ("10.1.0.5",), REPORTED.policies),),
        (Guarded("shop", REPORTED.addresses, (PolicyGeneration("p", 1),)),),
        (Guarded("shop", REPORTED.addresses),),
    ],
    ids=["nothing", "one address", "another generation", "the default"],
)
def test_waypoints_of_other_nodes_are_not_admitted_while_they_cannot_know_the_policies(
    reported: tuple[Guarded, ...],
) -> None:
    node = PolicyNode()
    node.update(*upserts(policy(ALICE_RULE), ALICE_POD), Upsert(remote("10.2.0.1")))
    node.update(Upsert(report(*reported, node="here")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(ALICE, 80), Grant(HERE, 80)}


def test_only_waypoints_that_enforce_policies_have_an_identity() -> None:
    node = PolicyNode()
    node.update(Upsert(report()), Upsert(NodeWaypoints(("10.1.0.2",))))
    assert node.waypoints == {}, "without policies nothing depends on it"
    node.update(*upserts(policy("[]")))
    assert node.waypoints == {"10.9.0.2": waypoint_row("there"), "10.1.0.2": waypoint_row("here")}
    node.update(Upsert(report(enforces=False)))
    assert node.waypoints == {"10.1.0.2": waypoint_row("here")}
    node.update(Upsert(report(node="here")))
    assert node.waypoints == {"10.1.0.2": waypoint_row("here")}, "this node's are known without a report"


SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s, namespace: shop, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
endpoints: [{addresses: [10.2.0.5], nodeName: NODE}]
ports: [{port: 80}]
"""


def test_protected_pods_of_other_nodes_are_destinations_while_their_policies_are_known() -> None:
    node = PolicyNode()
    entry = Guarded("shop", ("10.2.0.5", "10.2.0.6"), (PolicyGeneration("p", 0),))
    node.update(*upserts(policy(ALICE_RULE), SLICE.replace("NODE", "there")), Upsert(report(entry)))
    (found,) = node.destinations.items()
    assert found == ("10.2.0.5", Destination((Grant(ALICE, 80),), Key("AuthorizationPolicy", "shop", "p")))
    node.update(*upserts(SLICE.replace("NODE", "elsewhere")))
    assert node.destinations == {}, "the node speaks for its own endpoints only"
    node.update(*upserts(SLICE.replace("NODE", "there")))
    assert node.destinations
    node.update(Upsert(report(Guarded("shop", ("10.2.0.5",), (PolicyGeneration("p", 1),)))))
    assert node.destinations == {}, "that generation is not known here"
    node.update(Upsert(report(entry, enforces=False)))
    assert node.destinations, "what waypoints do makes no difference to it"
    node.update(Delete(report().key))
    assert node.destinations == {}
