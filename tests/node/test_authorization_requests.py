"""AuthorizationPolicies of the level Application: no way to the pods leads past the rules about requests."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.lab.weft import waypoint_pod, waypoints
from support.node.connecting import ALICE, BOB, CAROL, KEEP_ASKING, account, addresses, running
from support.node.explain import explain
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.node.request_policies import Policies, request_lab, request_policies

pytestmark = pytest.mark.node

DAVE = "plain/dave"
CLIENTS = (ALICE, BOB, CAROL, DAVE)
# Everybody may read what is public; alice may also write orders, and carol call one method.
RULES = f"""
  - httpAttributes: {{methods: [GET], paths: [{{type: PathPrefix, value: /public}}]}}
  - sources: [{account("alice")}]
    httpAttributes: {{methods: [POST], paths: [{{type: Exact, value: /orders}}], headers: [{{name: X-Team, value: a}}]}}
  - sources: [{account("carol", "bank")}]
    httpAttributes: {{paths: [{{type: Exact, value: /a.B/C}}]}}
"""
NETWORK = f"""
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: network, namespace: shop}}
spec:
  targetRefs: [{{kind: Pod, selector: {{matchLabels: {{app: web}}}}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: [{{sources: [{account("alice")}]}}]
"""
# What becomes of requests of a client by each way to the server; prints a JSON object.
WAYS = """
import http.client, json, socket

import grpc

def ask(host, port, method, path, **headers):
    connection = http.client.HTTPConnection(host, port, timeout=8)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    except ConnectionRefusedError:
        return "refused"

def call(method):
    with grpc.insecure_channel("web.shop:7070") as channel:
        try:
            channel.unary_unary(method, lambda m: m, lambda m: m)(b"", timeout=8)
        except grpc.RpcError as error:
            return error.code().name
    return "served"

def dial(host, port):
    with socket.socket() as client:
        client.settimeout(8)
        return "connected" if client.connect_ex((host, port)) == 0 else "refused"

print(json.dumps({{
    "public": ask("web.shop", 80, "GET", "/public/x?q"),
    "unmarked": ask("web.shop", 81, "GET", "/public"),
    "admin": ask("web.shop", 80, "GET", "/admin"),
    "dots": ask("web.shop", 80, "GET", "/public/../admin"),
    "order": ask("web.shop", 80, "POST", "/orders", X_Team="a"),
    "order of another": ask("web.shop", 80, "POST", "/orders", X_Team="b"),
    "call": call("/a.B/C"),
    "other call": call("/a.B/D"),
    "route": ask("front.bank", 80, "GET", "/public"),
    "route admin": ask("front.bank", 80, "GET", "/admin"),
    "alias": ask("alias.shop", 80, "GET", "/public"),
    "tcp": dial("web.shop", 9090),
    "pod": dial("{pod}", 8080),
    "pod tcp": dial("{pod}", 9090),
}}))
"""
REFUSED = dict.fromkeys(("alias", "tcp", "pod", "pod tcp"), "refused")
PUBLIC = {
    "public": 200,
    "unmarked": 200,
    "admin": 403,
    "dots": 403,
    "order": 403,
    "order of another": 403,
    "call": "PERMISSION_DENIED",
    "other call": "PERMISSION_DENIED",
    "route": 200,
    "route admin": 403,
    **REFUSED,
}
# Without a mesh the client's requests go to the server's pod, and so do those to the Service with the Route.
UNENROLLED = dict.fromkeys(PUBLIC, "refused") | {"call": "UNAVAILABLE", "other call": "UNAVAILABLE"}
EXPECTED = {
    ALICE: PUBLIC | {"order": 200},
    BOB: PUBLIC,
    CAROL: PUBLIC | {"call": "served"},
    DAVE: UNENROLLED,
}


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return request_lab(make_lab, "authzreq")


@pytest.fixture
def policies(mesh: LabHandle) -> Iterator[Policies]:
    with request_policies(mesh) as made:
        yield made


def ways(mesh: LabHandle, client: str) -> Any:
    return json.loads(mesh.python(client, WAYS.format(pod=addresses(mesh)[0])))


@pytest.mark.feature("AuthorizationPolicy, Application: a Service without Routes goes through the waypoint")
@pytest.mark.feature("AuthorizationPolicy, Application: its pods admit waypoints only")
def test_requests_are_served_by_the_rules_and_no_way_leads_past_them(mesh: LabHandle, policies: Policies) -> None:
    policies.apply(RULES)
    assert {client: ways(mesh, client) for client in CLIENTS} == EXPECTED
    # The kubelet's probes go on.
    mesh.wait_ready()
    assert mesh.status()["waypoint"]["listeners"]


def test_without_the_policy_every_way_is_open(mesh: LabHandle) -> None:
    found = ways(mesh, BOB)
    assert found == {
        **dict.fromkeys(found, 200),
        "call": "served",
        "other call": "served",
        "tcp": "connected",
        "pod": "connected",
        "pod tcp": "connected",
    }


def test_a_policy_of_the_level_network_restricts_the_same_clients_further(mesh: LabHandle, policies: Policies) -> None:
    mesh.apply(NETWORK)
    try:
        policies.apply(RULES)
        assert mesh.status()["protectedPods"][0]["policies"] == ["web", "network"]
        refused = dict.fromkeys(("public", "unmarked", "admin", "dots", "order", "order of another"), 403)
        assert ways(mesh, ALICE) == EXPECTED[ALICE]
        assert ways(mesh, BOB) == PUBLIC | refused | {"route": 403}
    finally:
        mesh.delete(NETWORK)


def test_a_change_holds_for_the_next_request_of_a_connection(mesh: LabHandle, policies: Policies) -> None:
    """Connections of a client from which something is taken may end before."""
    policies.apply(RULES)
    listeners = mesh.status()["waypoint"]["listeners"]
    admin = "{httpAttributes: {paths: [{type: PathPrefix, value: /admin}]}}"
    with running(mesh, BOB, KEEP_ASKING.format(path="/admin", wanted=200)) as given:
        policies.apply(f"{RULES}  - {admin}\n")
    with running(mesh, BOB, KEEP_ASKING.format(path="/public", wanted=403)) as taken:
        policies.apply(f"[{admin}]")
    assert mesh.status()["waypoint"]["listeners"] == listeners
    assert (given[0], given[-1], set(given)) == (403, 200, {200, 403})
    assert (taken[0], taken[-1], {*taken} - {"ended"}) == (200, 403, {200, 403})


@pytest.mark.parametrize("rules", ["[{sources: []}]", "[{httpAttributes: {methods: []}}]", "[{unknown: 1}]", "7"])
def test_an_invalid_policy_opens_nothing(mesh: LabHandle, policies: Policies, rules: str) -> None:
    """Without an earlier generation it admits nobody; after one, that one stays in force."""
    policies.apply(rules, valid=False)
    closed = ways(mesh, ALICE)
    assert {closed.pop("call"), closed.pop("other call")} <= {"PERMISSION_DENIED", "UNAVAILABLE"}
    assert set(closed.values()) <= {403, "refused"}
    policies.apply(RULES)
    policies.apply(rules, valid=False)
    assert (ways(mesh, ALICE), ways(mesh, BOB)) == (EXPECTED[ALICE], EXPECTED[BOB])


def test_explain_names_the_policy_and_what_the_request_lacks(mesh: LabHandle, policies: Policies) -> None:
    policies.apply(RULES)
    (share,) = explain(mesh, BOB, "http://web.shop/admin")["waypoint"]["shares"]
    assert (share["status"], share["refusedBy"]) == (403, ["AuthorizationPolicy shop/web"])
    assert share["refusal"] == "the path is not /public/*"
    found = explain(mesh, BOB, "http://web.shop/admin", "--live")["live"]
    assert (found["status"], found["differences"]) == (403, [])
    assert found["details"] == "rbac_access_denied_matched_policy[shop/web]"
    (share,) = explain(mesh, ALICE, "http://web.shop/public")["waypoint"]["shares"]
    assert (share["status"], share["refusedBy"], share["refusal"]) == (None, None, None)
    (outcome,) = explain(mesh, BOB, f"{addresses(mesh)[0]}:8080")["outcomes"]
    assert (outcome["reason"], outcome["policy"]) == ("policy_forbids", "AuthorizationPolicy shop/web")


def test_without_a_waypoint_the_pods_admit_nobody(mesh: LabHandle, policies: Policies) -> None:
    policies.apply(RULES)
    waypoint = json.dumps(waypoint_pod(mesh.paths, waypoints(mesh.store.load())[0]))
    mesh.delete(waypoint)
    try:
        mesh.wait_for("the waypoint is lost", lambda: not policies.ready())
        assert {client: ways(mesh, client) for client in CLIENTS} == dict.fromkeys(CLIENTS, UNENROLLED)
    finally:
        mesh.apply(waypoint)
        mesh.wait_for("the waypoint is back", lambda: policies.ready() == {80, 81, 7070})
    settle(mesh, lambda _: True)
    assert ways(mesh, BOB) == PUBLIC


def test_rules_hold_while_the_agent_is_away_and_comes_back(mesh: LabHandle, policies: Policies) -> None:
    policies.apply(RULES)
    with (
        running(mesh, BOB, KEEP_ASKING.format(path="/public", wanted=200)) as public,
        running(mesh, BOB, KEEP_ASKING.format(path="/admin", wanted=403)) as admin,
    ):
        mesh.agent_stop(kill=True)
        mesh.agent_start()
        settle(mesh, lambda status: bool(status["protectedPods"]))
    assert (set(public), set(admin)) == ({200}, {403})
