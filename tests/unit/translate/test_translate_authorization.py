"""Policies of this node's pods as grants, and pods as clients."""

import pytest

from agent.ir.authorization import (
    ANY_CLIENT,
    ANY_PORT,
    NODE,
    WAYPOINTS,
    Destination,
    Grant,
    PeerRow,
    ServerPlan,
    account_id,
    peer_row,
    waypoint_id,
    waypoint_row,
)
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Delete, Upsert
from agent.model.facts import AccountPod, NodeReport, NodeWaypoints, PodCgroup, PodSandbox
from agent.model.meta import Key, Object
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator, Unit
from agent.translate.options import Options
from agent.translate.services import Steps
from support.parameters import parameters

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: u-1, labels: {app: web}}
spec:
  nodeName: here
  serviceAccountName: web
  containers: [{name: web, ports: [{name: health, containerPort: 9000}], livenessProbe: {httpGet: {port: health}}}]
status: {phase: Running, podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]}
"""
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec:
  targetRefs: [{kind: Pod, selector: {matchLabels: {app: web}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: RULES
"""
ALICE, BANK = account_id("shop", "alice"), account_id("bank", "*")
PROBE = Grant(NODE, 9000)
HERE, THERE = waypoint_id("here"), waypoint_id("there")


def policy(rules: str, name: str = "p") -> str:
    return POLICY.replace("RULES", rules).replace("NAME", name)


def upserts(*texts: str) -> list[Change]:
    found = [item for text in texts for part in split(text, False) for item in decode(part.value, "here")]
    assert all(isinstance(item, Object) for item in found), found
    return [Upsert(item) for item in found if isinstance(item, Object)]


def remote(address: str, account: str = "alice", name: str = "other", node: str = "there") -> AccountPod:
    return AccountPod("shop", name, account, (address,), f"u-{name}", "2026-01-01T00:00:00Z", "*", node)


def report(*guarded: Guarded, node: str = "there", enforces: bool = True) -> NodeReport:
    return NodeReport(node, ("10.9.0.2",), enforces, guarded)


class Node:
    """A node with one pod."""

    def __init__(self, pod: str = POD) -> None:
        self._translator = Translator(Store(), Options("here"))
        self.update(*upserts(pod), Upsert(PodCgroup("u-1", 7)))

    def update(self, *changes: Change) -> None:
        self._translator.update(changes)

    @property
    def waypoints(self) -> dict[str, PeerRow]:
        return {address: row for it in self._translator.outputs.values() for address, row in it.waypoints.items()}

    @property
    def destinations(self) -> dict[str, Destination]:
        return {address: item for it in self._translator.outputs.values() for address, item in it.destinations.items()}

    @property
    def output(self) -> Output:
        (found,) = [output for output in self._translator.outputs.values() if output.pods]
        return found

    @property
    def peers(self) -> dict[str, PeerRow]:
        """The identities of all addresses."""
        return {address: row for output in self._translator.outputs.values() for address, row in output.peers.items()}

    @property
    def server(self) -> ServerPlan | None:
        return self.output.servers.get(7)


@pytest.mark.parametrize(
    ("rules", "grants"),
    [
        ("[]", ()),
        ("[{}]", (Grant(ANY_CLIENT, ANY_PORT),)),
        ("[{networkAttributes: {ports: [80, 443]}}]", (Grant(ANY_CLIENT, 80), Grant(ANY_CLIENT, 443))),
        ("[{sources: [{type: ServiceAccount, serviceAccount: {name: alice}}]}]", (Grant(ALICE, ANY_PORT),)),
        ("[{sources: [{type: SPIFFE, spiffe: 'spiffe://cluster.local/ns/shop/sa/alice'}]}]", (Grant(ALICE, ANY_PORT),)),
        (
            "[{sources: [{type: ServiceAccount, serviceAccount: {namespace: bank, name: '*'}}],"
            " networkAttributes: {ports: [80]}}]",
            (Grant(BANK, 80),),
        ),
        ("[{sources: [{type: SPIFFE, spiffe: 'spiffe://elsewhere/ns/shop/sa/alice'}]}]", ()),
    ],
    ids=["no rules", "any", "ports", "account", "spiffe", "namespace", "other trust domain"],
)
def test_rules_are_grants_and_the_kubelet_may_probe(rules: str, grants: tuple[Grant, ...]):
    node = Node()
    assert node.server is None
    node.update(*upserts(policy(rules)))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, *grants}
    assert (node.server.addresses, node.server.pod) == (("10.1.0.5", "fd00::5"), Key("Pod", "shop", "web"))


def test_the_grants_of_several_policies_are_added_up():
    node = Node()
    node.update(*upserts(policy("[]", "deny"), policy("[{networkAttributes: {ports: [80]}}]", "http")))
    assert node.server is not None
    assert (set(node.server.grants), [key.name for key in node.server.policies]) == (
        {PROBE, Grant(ANY_CLIENT, 80)},
        ["deny", "http"],
    )


def test_a_policy_that_is_deleted_protects_nothing():
    node = Node()
    node.update(*upserts(policy("[]")))
    assert node.server is not None
    node.update(Delete(Key("AuthorizationPolicy", "shop", "p")))
    assert node.server is None


def test_the_accounts_that_policies_name_are_the_sources():
    node = Node()
    node.update(*upserts(policy("[{sources: [{type: ServiceAccount, serviceAccount: {namespace: bank, name: '*'}}]}]")))
    assert node.server is not None
    assert node.server.sources == {ServiceAccount("bank", "*")}


@pytest.mark.parametrize(
    ("change", "selected"),
    [(("app: web", "app: other"), False), (("namespace: shop", "namespace: bank"), False), (("web", "web"), True)],
)
def test_a_policy_is_for_the_pods_of_its_namespace_that_its_selector_matches(change: tuple[str, str], selected: bool):
    node = Node(POD.replace(*change))
    node.update(*upserts(policy("[]")))
    assert (node.server is not None) == selected


def test_a_pod_is_a_client_with_its_account_from_its_sandbox_on():
    node = Node(POD.replace('podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]', "conditions: []"))
    assert node.output.peers == {}
    node.update(Upsert(PodSandbox("u-1", ("10.1.0.6",))), *upserts(policy("[]")))
    assert node.output.peers == {"10.1.0.6": peer_row("shop", "web")}
    assert node.server is not None
    assert node.server.addresses == ("10.1.0.6",)


def test_a_pod_without_an_account_is_an_unknown_client():
    assert Node(POD.replace("serviceAccountName: web", "dnsPolicy: Default")).output.peers == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hostNetwork: true", "a hostNetwork pod has no network namespace of its own"),
        ("runtimeClassName: gvisor", "the kernel does not see the sockets of RuntimeClass gvisor, handler gvisor"),
    ],
)
def test_a_pod_that_cannot_be_protected_is_named(line: str, reason: str):
    node = Node(POD.replace("nodeName: here", f"nodeName: here\n  {line}"))
    node.update(*upserts(policy("[]")))
    assert node.server is None
    assert node.output.warnings == (f"Pod shop/web: Unsupported, its policies are not enforced: {reason}",)


def test_pods_of_other_nodes_with_an_account_that_policies_name_are_clients_while_they_exist():
    node = Node()
    own = node.peers
    node.update(Upsert(remote("10.2.0.9")))
    assert node.peers == own | {"10.2.0.9": peer_row("shop", "alice")}
    node.update(Upsert(remote("10.2.0.8")))
    assert node.peers == own | {"10.2.0.8": peer_row("shop", "alice")}
    node.update(Delete(remote("10.2.0.8").key))
    assert node.peers == own


def test_the_default_of_the_mesh_is_the_policy_of_pods_without_one_and_the_kubelet_may_probe():
    node = Node()
    node.update(Upsert(parameters("SameNamespace")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(account_id("shop", "*"), ANY_PORT), Grant(HERE, ANY_PORT)}
    assert node.server.sources == {ServiceAccount("shop", "*")}
    assert node.server.policies == (Key("MeshParameters", "", "default"),)
    node.update(Upsert(parameters("Deny")))
    assert (node.server is not None, set(node.server.grants)) == (True, {PROBE})
    node.update(*upserts(policy("[{}]")))
    assert set(node.server.grants) == {PROBE, Grant(ANY_CLIENT, ANY_PORT)}
    node.update(Delete(Key("AuthorizationPolicy", "shop", "p")), Upsert(parameters("Deny", "shop")))
    assert node.server is None


def test_a_pod_on_the_host_s_network_is_named_where_the_default_would_close_it():
    node = Node(POD.replace("nodeName: here", "nodeName: here, hostNetwork: true".replace(", ", "\n  ")))
    assert not any("Unsupported" in text for text in node.output.warnings)
    node.update(Upsert(parameters("Deny")))
    (warning,) = (text for text in node.output.warnings if "Unsupported" in text)
    assert "Pod shop/web: Unsupported, the default of MeshParameters default is not enforced" in warning


def test_a_change_of_the_default_is_work_for_the_pods_that_it_is_for():
    """Neither for Services, nor for pods that policies select; other settings are work for nobody."""
    translated: list[Unit] = []

    class Recorded(Translator):
        def _translate(self, unit: Unit, view: TrackedView) -> Steps:
            translated.append(unit)
            return super()._translate(unit, view)

    translator = Recorded(Store(), Options("here"))
    service = "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}"
    other = POD.replace("name: web, namespace: shop, uid: u-1", "name: other, namespace: shop, uid: u-2")
    objects = upserts(POD, other.replace("app: web", "app: other"), policy("[]"), service)
    translator.update([*objects, *(Upsert(PodCgroup(f"u-{number}", number)) for number in (1, 2))])
    for change in (Upsert(parameters("Allow")), Upsert(parameters("Deny")), Delete(parameters().key)):
        translated.clear()
        translator.update([change])
        assert {unit.key.name for unit in translated} == {"other"}


ALICE_RULE = "[{sources: [{type: ServiceAccount, serviceAccount: {name: alice}}], networkAttributes: {ports: [80]}}]"
REPORTED = Guarded("shop", ("10.1.0.5", "fd00::5"), (PolicyGeneration("p", 0),))


def test_the_waypoints_of_nodes_that_run_an_allowed_client_are_admitted_at_the_ports_of_its_rule() -> None:
    node = Node()
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
    node = Node()
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
    node = Node()
    node.update(*upserts(REQUESTS.replace("RULES", GET), SERVICE), Upsert(remote("10.2.0.1")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(HERE, ANY_PORT)}


def test_a_pod_of_another_node_under_a_policy_about_requests_is_no_destination_of_a_direct_connection() -> None:
    node = Node()
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
    node = Node()
    node.update(*upserts(policy(ALICE_RULE), ALICE_POD), Upsert(remote("10.2.0.1")))
    node.update(Upsert(report(*reported, node="here")))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, Grant(ALICE, 80), Grant(HERE, 80)}


def test_only_waypoints_that_enforce_policies_have_an_identity() -> None:
    node = Node()
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
    node = Node()
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
