"""Policies of this node's pods as grants, and pods as clients."""

import pytest

from agent.ir.authorization import (
    ANY_CLIENT,
    ANY_PORT,
    Grant,
    UnsupportedPod,
    account_id,
    peer_row,
)
from agent.ir.policy import ServiceAccount
from agent.model.change import Delete, Upsert
from agent.model.facts import PodCgroup, PodSandbox
from agent.model.meta import Key
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator, Unit
from agent.translate.options import Options
from agent.translate.services import Steps
from support.parameters import parameters
from support.policy_node import (
    ALICE,
    BANK,
    HERE,
    POD,
    PROBE,
    PolicyNode,
    policy,
    remote,
    upserts,
)


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
    node = PolicyNode()
    assert node.server is None
    node.update(*upserts(policy(rules)))
    assert node.server is not None
    assert set(node.server.grants) == {PROBE, *grants}
    assert (node.server.addresses, node.server.pod) == (("10.1.0.5", "fd00::5"), Key("Pod", "shop", "web"))


def test_the_grants_of_several_policies_are_added_up():
    node = PolicyNode()
    node.update(*upserts(policy("[]", "deny"), policy("[{networkAttributes: {ports: [80]}}]", "http")))
    assert node.server is not None
    assert (set(node.server.grants), [key.name for key in node.server.policies]) == (
        {PROBE, Grant(ANY_CLIENT, 80)},
        ["deny", "http"],
    )


def test_a_policy_that_is_deleted_protects_nothing():
    node = PolicyNode()
    node.update(*upserts(policy("[]")))
    assert node.server is not None
    node.update(Delete(Key("AuthorizationPolicy", "shop", "p")))
    assert node.server is None


def test_the_accounts_that_policies_name_are_the_sources():
    node = PolicyNode()
    node.update(*upserts(policy("[{sources: [{type: ServiceAccount, serviceAccount: {namespace: bank, name: '*'}}]}]")))
    assert node.server is not None
    assert node.server.sources == {ServiceAccount("bank", "*")}


@pytest.mark.parametrize(
    ("change", "selected"),
    [(("app: web", "app: other"), False), (("namespace: shop", "namespace: bank"), False), (("web", "web"), True)],
)
def test_a_policy_is_for_the_pods_of_its_namespace_that_its_selector_matches(change: tuple[str, str], selected: bool):
    node = PolicyNode(POD.replace(*change))
    node.update(*upserts(policy("[]")))
    assert (node.server is not None) == selected


def test_a_pod_is_a_client_with_its_account_from_its_sandbox_on():
    node = PolicyNode(POD.replace('podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]', "conditions: []"))
    assert node.output.peers == {}
    node.update(Upsert(PodSandbox("u-1", ("10.1.0.6",))), *upserts(policy("[]")))
    assert node.output.peers == {"10.1.0.6": peer_row("shop", "web")}
    assert node.server is not None
    assert node.server.addresses == ("10.1.0.6",)


def test_a_pod_without_an_account_is_an_unknown_client():
    assert PolicyNode(POD.replace("serviceAccountName: web", "dnsPolicy: Default")).output.peers == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("hostNetwork: true", "a hostNetwork pod has no network namespace of its own"),
        ("runtimeClassName: gvisor", "the kernel does not see the sockets of RuntimeClass gvisor, handler gvisor"),
    ],
)
def test_a_pod_that_cannot_be_protected_is_named(line: str, reason: str):
    node = PolicyNode(POD.replace("nodeName: here", f"nodeName: here\n  {line}"))
    node.update(*upserts(policy("[]")))
    assert node.server is None
    assert node.output.warnings == (f"Pod shop/web: Unsupported, its policies are not enforced: {reason}",)
    (unsupported,) = node.output.unsupported.values()
    assert unsupported == UnsupportedPod(
        Key("Pod", "shop", "web"), (Key("AuthorizationPolicy", "shop", "p"),), (0,), reason
    )


def test_pods_of_other_nodes_with_an_account_that_policies_name_are_clients_while_they_exist():
    node = PolicyNode()
    own = node.peers
    node.update(Upsert(remote("10.2.0.9")))
    assert node.peers == own | {"10.2.0.9": peer_row("shop", "alice")}
    node.update(Upsert(remote("10.2.0.8")))
    assert node.peers == own | {"10.2.0.8": peer_row("shop", "alice")}
    node.update(Delete(remote("10.2.0.8").key))
    assert node.peers == own


def test_the_default_of_the_mesh_is_the_policy_of_pods_without_one_and_the_kubelet_may_probe():
    node = PolicyNode()
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
    node = PolicyNode(POD.replace("nodeName: here", "nodeName: here, hostNetwork: true".replace(", ", "\n  ")))
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
