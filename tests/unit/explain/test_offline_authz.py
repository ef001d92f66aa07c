"""`weft authz`: who may connect to a Service, and where a pod may connect, by the policies of manifests."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.explain.protection import OTHER_PORT, Client, Protection, identity_of
from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyRule, ServiceAccount, decide
from agent.model.meta import Key
from support.explain import deployment, manifests, service, weft, write
from support.parameters import parameters_document
from support.policies import WEB, application_document, from_account, http, policy_document

NAMESPACES, ACCOUNTS, PORTS = st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 3)
SOURCES = st.builds(ServiceAccount, NAMESPACES, ACCOUNTS | st.just(ANY))
RULES = st.builds(PolicyRule, st.none() | st.frozensets(SOURCES, max_size=2), st.frozensets(PORTS, max_size=2))
KEYS = st.builds(Key, st.just("AuthorizationPolicy"), st.just("a"), ACCOUNTS)
POLICIES = st.lists(st.builds(Policy, KEYS, st.lists(RULES).map(tuple)), max_size=3).map(tuple)


HTTP = {"name": "http", "port": 80, "targetPort": "http"}
METRICS = {"name": "metrics", "port": 9090}
SHOP = (service("web", HTTP, METRICS), deployment("web", "web"), deployment("client", "client"))
BY_CLIENT = {"sources": [from_account("client")], "networkAttributes": {"ports": [8080]}}


def query(folder: Path, *question: object) -> dict[str, Any]:
    done = weft("authz", *question, "-f", folder, "-o", "json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def clients(folder: Path, *documents: Any, port: int = 80) -> list[tuple[Any, ...]]:
    """Who may connect to the Service, with policy and rule."""
    (row,) = query(manifests(folder, *documents), "who-can", "app/web", "--port", port)["ports"]
    return [(item["client"], item["policy"], item["rule"]) for item in row["clients"]]


def test_a_rule_s_clients_may_connect_at_its_port_of_the_pod(tmp_path: Path) -> None:
    policy = policy_document(BY_CLIENT, {"sources": [from_account("*", "shop")]}, selector=WEB)
    first, second = query(manifests(tmp_path, *SHOP, policy), "who-can", "app/web")["ports"]
    name = "AuthorizationPolicy app/p"
    shop = {"client": "shop/*", "policy": name, "rule": 1, "requests": [], "reason": f"{name}, spec.rules[1]"}
    client = {"client": "app/client", "policy": name, "rule": 0, "requests": [], "reason": f"{name}, spec.rules[0]"}
    assert first == {
        "pods": ["app/web"],
        "port": 80,
        "protocol": "TCP",
        "target": 8080,
        "clients": [client, shop],
        "reason": "",
    }
    assert (second["port"], second["target"], second["clients"]) == (9090, 9090, [shop])


def test_without_a_policy_the_default_of_the_mesh_says_who(tmp_path: Path) -> None:
    parameters = "MeshParameters default"
    assert clients(tmp_path, *SHOP) == [("*", None, None)]
    assert clients(tmp_path, *SHOP, parameters_document("SameNamespace")) == [("app/*", parameters, None)]
    assert clients(tmp_path, *SHOP, parameters_document("Deny", "app")) == [("*", None, None)]
    (row,) = query(manifests(tmp_path, *SHOP, parameters_document("Deny")), "who-can", "app/web", "--port", 80)["ports"]
    assert (row["clients"], row["reason"]) == ([], f"the default Deny of {parameters}")


def test_a_policy_about_requests_admits_clients_at_the_waypoint(tmp_path: Path) -> None:
    rules = ({"sources": [from_account("client")], **http(methods=["GET"])}, {"sources": [from_account("*", "shop")]})
    requests = application_document(*rules)
    (row, _) = query(manifests(tmp_path / "one", *SHOP, requests), "who-can", "app/web")["ports"]
    through = "HTTP requests through the waypoint"
    assert [(item["client"], item["reason"]) for item in row["clients"]] == [
        ("app/client", f"AuthorizationPolicy app/p, spec.rules[0], {through}: GET"),
        ("shop/*", f"AuthorizationPolicy app/p, spec.rules[1], {through}: any"),
    ]
    assert [item["requests"] for item in row["clients"]] == [["GET"], ["any"]]
    network = policy_document(BY_CLIENT, selector=WEB, name="network")
    assert clients(tmp_path / "both", *SHOP, requests, network) == [("app/client", "AuthorizationPolicy app/p", 0)]


def test_policies_of_the_pod_are_all_named_where_none_admits_a_client(tmp_path: Path) -> None:
    folder = manifests(tmp_path, *SHOP, policy_document(name="a"), policy_document(name="b"))
    (row,) = query(folder, "who-can", "app/web", "--port", 80)["ports"]
    assert row["reason"] == "no rule of AuthorizationPolicy app/a, AuthorizationPolicy app/b"


def test_a_client_is_not_named_beside_the_rule_for_every_client(tmp_path: Path) -> None:
    name = "AuthorizationPolicy app/p"
    assert clients(tmp_path, *SHOP, policy_document({}, BY_CLIENT)) == [("*", name, 0)]
    assert clients(tmp_path, *SHOP, policy_document(BY_CLIENT, {})) == [("app/client", name, 0), ("*", name, 1)]


@pytest.mark.parametrize("spec", [{"hostNetwork": True}, {"runtimeClassName": "gvisor"}])
def test_policies_that_are_not_enforced_close_nothing(tmp_path: Path, spec: dict[str, Any]) -> None:
    folder = manifests(tmp_path, SHOP[0], deployment("web", "web", **spec), policy_document())
    ((row, _)) = query(folder, "who-can", "app/web")["ports"]
    (allowed,) = row["clients"]
    assert allowed["client"] == "*"
    assert "Unsupported, its policies are not enforced" in allowed["reason"]


def test_pods_that_are_not_there_are_assumed_from_selectors(tmp_path: Path) -> None:
    folder = manifests(tmp_path, service("web", METRICS), policy_document(selector=WEB))
    (row,) = query(folder, "who-can", "app/web")["ports"]
    assert (row["pods"], row["clients"]) == (["pods of Service app/web"], [])
    labels = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]}
    only = manifests(tmp_path, deployment("client"), policy_document(selector=labels))
    assert [row["pods"] for row in query(only, "can-reach", "app/client")["targets"] if not row["allowed"]] == [
        ["pods of AuthorizationPolicy app/p"]
    ]


def test_a_target_that_no_container_names_is_told(tmp_path: Path) -> None:
    folder = manifests(tmp_path, service("web", {"port": 80, "targetPort": "gone"}), deployment("web"))
    (row,) = query(folder, "who-can", "app/web")["ports"]
    assert (row["target"], row["clients"], row["reason"]) == (None, [], "no container has a port gone")


def test_where_a_pod_may_connect_and_what_refuses_it(tmp_path: Path) -> None:
    more = (service("db", {"port": 5432}, namespace="data"), deployment("db", namespace="data"))
    folder = manifests(tmp_path, *SHOP, *more, policy_document(BY_CLIENT, selector=WEB))
    found = query(folder, "can-reach", "app/client")
    rows = [(row["pods"], row["services"], row["ports"], row["but"], row["allowed"]) for row in found["targets"]]
    assert found["serviceAccount"] == "app/client"
    assert rows == [
        (["app/web"], ["app/web:80"], [8080], None, True),
        (["app/web"], ["app/web:9090"], None, [8080], False),
        (["app/client"], [], None, [], True),
        (["data/db"], ["data/db:5432"], None, [], True),
    ]
    assert [(row["policies"], row["rule"]) for row in found["targets"][:2]] == [
        (["AuthorizationPolicy app/p"], 0),
        (["AuthorizationPolicy app/p"], None),
    ]


def test_a_pod_without_a_service_account_has_the_one_that_kubernetes_gives_it(tmp_path: Path) -> None:
    rule = {"sources": [from_account("default")]}
    folder = manifests(tmp_path, deployment("client"), deployment("web"), policy_document(rule, selector=WEB))
    found = query(folder, "can-reach", "app/client")
    assert (found["serviceAccount"], [row["allowed"] for row in found["targets"]]) == ("app/default", [True, True])


def test_a_client_on_the_host_s_network_is_not_known_to_servers(tmp_path: Path) -> None:
    rule = {"sources": [from_account("*")]}
    host = deployment("client", "client", hostNetwork=True)
    found = query(manifests(tmp_path, host, deployment("web"), policy_document(rule)), "can-reach", "app/client")
    assert [row["allowed"] for row in found["targets"] if row["pods"] == ["app/web"]] == [False]
    assert any("on the host's network" in note for note in found["notes"])


def test_a_pod_is_found_by_its_workload_and_pods_of_a_workload_are_one_row(tmp_path: Path) -> None:
    owner = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9", "uid": "u", "controller": True}]
    labels = {"app": "web", "pod-template-hash": "5d9"}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "spec": {"serviceAccountName": "web", "containers": []},
            "metadata": {"name": f"web-5d9-{number}", "namespace": "app", "labels": labels, "ownerReferences": owner},
        }
        for number in range(3)
    ]
    folder = manifests(tmp_path, {"apiVersion": "v1", "kind": "List", "items": [*pods, SHOP[0]]})
    assert query(folder, "can-reach", "app/web")["targets"][0]["pods"] == ["app/web"]
    assert [row["pods"] for row in query(folder, "who-can", "app/web", "--port", 9090)["ports"]] == [["app/web"]]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (("who-can", "app"), "'app' is not NAMESPACE/SERVICE"),
        (("who-can", "app/gone"), "the manifests have no Service app/gone"),
        (("who-can", "app/web", "--port", 81), "Service app/web has no port 81, only 80, 9090"),
        (("who-can", "app/bare"), "Service app/bare has no selector"),
        (("can-reach", "app"), "'app' is not NAMESPACE/POD"),
        (("can-reach", "app/gone"), "the manifests have no Pod and no workload app/gone"),
    ],
)
def test_a_question_about_what_is_not_there_is_refused(
    tmp_path: Path, question: tuple[object, ...], message: str
) -> None:
    bare = service("bare", METRICS)
    del bare["spec"]["selector"]
    done = weft("authz", *question, "-f", manifests(tmp_path, *SHOP, bare))
    assert (done.exit_code, message in done.stderr) == (2, True), done.output


NOTES = """\
note  always admitted: a pod's connections to itself, and the kubelet at the ports of the pod's probes
note  1 objects or documents cannot be used: see weft lint
"""
WHO_CAN = """\
Service app/web
PORT      TARGET  PODS     CLIENTS                      REASON
80/TCP    8080    app/web  app/client                   AuthorizationPolicy app/p, spec.rules[0]
                           every pod of namespace shop  AuthorizationPolicy app/p, spec.rules[1]
9090/TCP  9090    app/web  every pod of namespace shop  AuthorizationPolicy app/p, spec.rules[1]
"""
CAN_REACH = """\
app/client, service account app/client
PODS        PORTS                SERVICES      VERDICT  REASON
app/web     8080                 app/web:80    allowed  AuthorizationPolicy app/p, spec.rules[0]
app/web     every port but 8080  app/web:9090  refused  no rule of AuthorizationPolicy app/p
app/client  every port                         allowed  no policy selects it, and the default of the mesh is Allow
"""


@pytest.mark.parametrize(
    ("question", "name", "table"), [("who-can", "app/web", WHO_CAN), ("can-reach", "app/client", CAN_REACH)]
)
def test_the_tables_for_people(tmp_path: Path, question: str, name: str, table: str) -> None:
    policy = policy_document(BY_CLIENT, {"sources": [from_account("*", "shop")]}, selector=WEB)
    folder = write(manifests(tmp_path, *SHOP, policy), broken="kind: [")
    done = weft("authz", question, name, "-f", folder)
    assert "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines()) == table + NOTES


def group_of(client: Identity | None, protection: Protection) -> Client:
    """The group of clients that stands for a client."""
    if client is None or not client.service_account:
        return None
    account, space = ServiceAccount(client.namespace, client.service_account), ServiceAccount(client.namespace, ANY)
    return next((item for item in (account, space) if item in protection.clients), None)


CLIENTS = st.none() | st.builds(Identity, NAMESPACES, st.sampled_from(["x", "y", "z", ""]), st.just(Workload(*"ab12")))


@given(POLICIES, CLIENTS, st.integers(1, 4))
def test_a_group_stands_for_all_of_its_clients_and_ports(
    policies: tuple[Policy, ...], client: Identity | None, port: int
) -> None:
    found = Protection(policies, "", "Allow")
    represented = port if port in found.ports else OTHER_PORT
    assert found.verdict(group_of(client, found), represented).decided == decide(policies, client, port)
    assert identity_of(None) is None
