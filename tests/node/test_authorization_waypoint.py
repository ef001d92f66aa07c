"""AuthorizationPolicies and the waypoint: every way to a protected pod ends alike, whatever the protocol is.

Two clients go through the waypoint, one is in the mesh at its server's end only, one is not in the mesh.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from support.node.connecting import ALICE, BOB, CAROL, KEEP_ASKING, account, policy_of_server, running
from support.node.explain import explain
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.node.streams import Stream, streams

pytestmark = pytest.mark.node

DAVE = "plain/dave"
CLIENTS = (ALICE, BOB, CAROL, DAVE)
PARAMETERS = """
apiVersion: weft.dev/v1alpha1
kind: MeshParameters
metadata: {{name: default}}
spec: {{authorization: {{default: {default}}}}}
"""
# What becomes of a client that goes each way to the server; prints a JSON object.
WAYS = """
import http.client, json, socket, ssl

import grpc

FORGED = {{"X-Forwarded-For": "{forged}", "weft.identity": "shop/alice", "Forwarded": "for={forged}"}}

def request(host, port):
    connection = http.client.HTTPConnection(host, port, timeout=8)
    try:
        connection.request("GET", "/", headers=FORGED)
        answer = connection.getresponse()
    except ConnectionRefusedError:
        return "no connection"
    body = answer.read()
    return "served" if answer.status == 200 else f"{{answer.status}} {{body.decode()}}"

def call():
    with grpc.insecure_channel("web.shop:7070") as channel:
        try:
            channel.unary_unary("/a.B/C", lambda m: m, lambda m: m)(b"", timeout=8)
        except grpc.RpcError as error:
            return error.code().name
    return "served"

def line(port, first):
    try:
        with socket.create_connection(("web.shop", port), timeout=8) as client:
            client.sendall(first + b"\\n")
            return "served" if client.recv(100) else "closed"
    except ConnectionRefusedError:
        return "no connection"
    except ConnectionResetError:
        return "closed"

hello = ssl.MemoryBIO()
try:
    context = ssl.create_default_context()
    context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="web.shop").do_handshake()
except ssl.SSLWantReadError:
    pass
print(json.dumps({{
    "http": request("web.shop", 80),
    "grpc": call(),
    "tls": line(443, hello.read()),
    "tcp": line(9090, b"hello"),
    "pod": request("{pod}", 8080),
}}))
"""
LONG: Mapping[str, Stream] = {
    "answer": ("answer", "web.shop", 80, "/"),
    "call": ("call", "web.shop", 7070, "/a.B/C"),
    "tls": ("tls", "web.shop", 443, ""),
}
SERVED = dict.fromkeys(("http", "grpc", "tls", "tcp", "pod"), "served")
FORBIDDEN = {"http": "403 RBAC: access denied", "grpc": "PERMISSION_DENIED", "tls": "closed"}
UNCONNECTED = dict.fromkeys(("tcp", "pod"), "no connection")
# Without a waypoint in between the server's end refuses.
REFUSED_THERE = {**dict.fromkeys(("http", "tls", "tcp", "pod"), "no connection"), "grpc": "UNAVAILABLE"}


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    lab = make_lab("authzway", [Path(__file__).with_name("authorization_waypoint.yaml")], agent=True)
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 3)
    return lab


@pytest.fixture
def policy(mesh: LabHandle) -> Iterator[Callable[[str], None]]:
    """Set the rules of the policy of the server's pods; afterwards there is none."""
    with policy_of_server(mesh) as apply:
        yield apply


def address(mesh: LabHandle, name: str) -> str:
    pods = mesh.status()["pods"]
    return str(next(pod["addresses"][0] for pod in pods if pod["pod"].startswith(f"{name}-")))


def ways(mesh: LabHandle, client: str) -> Any:
    program = WAYS.format(pod=address(mesh, "shop/web"), forged=address(mesh, ALICE))
    return json.loads(mesh.python(client, program))


def only(allowed: set[str]) -> dict[str, dict[str, str]]:
    """What becomes of each client where these ones are allowed."""
    refused = {ALICE: FORBIDDEN | UNCONNECTED, BOB: FORBIDDEN | UNCONNECTED, CAROL: FORBIDDEN | UNCONNECTED}
    return {client: SERVED if client in allowed else refused.get(client, REFUSED_THERE) for client in CLIENTS}


def asking(mesh: LabHandle, client: str, wanted: int) -> AbstractContextManager[list[Any]]:
    """A client that sends requests meanwhile, until the answer is `wanted`; their statuses are there at the end."""
    return running(mesh, client, KEEP_ASKING.format(path="/", wanted=wanted))


def test_without_a_policy_every_way_is_open_and_the_node_reports_that_its_waypoint_enforces_policies(
    mesh: LabHandle,
) -> None:
    def is_reported() -> bool:
        found = [json.loads(report.read_text()) for report in (mesh.paths.state / "weftnodes").glob("*.json")]
        return [node["status"].get("waypointPolicies") for node in found] == [True]

    mesh.wait_for("it is reported", is_reported)
    assert {client: ways(mesh, client) for client in CLIENTS} == dict.fromkeys(CLIENTS, SERVED)


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        (f"[{{sources: [{account('alice')}]}}]", {ALICE}),
        (f"[{{sources: [{account('*')}]}}]", {ALICE, BOB}),
        (
            f"[{{sources: [{account('bob')}, {account('carol', 'bank')}, {account('dave', 'plain')}]}}]",
            {BOB, CAROL, DAVE},
        ),
        ("[]", set()),
        ("[{}]", set(CLIENTS)),
    ],
    ids=["account", "namespace", "several", "nobody", "everybody"],
)
def test_every_way_is_open_to_the_clients_of_the_policy_only(
    mesh: LabHandle, policy: Callable[[str], None], rules: str, allowed: set[str]
) -> None:
    policy(rules)
    assert {client: ways(mesh, client) for client in CLIENTS} == only(allowed)


@pytest.mark.parametrize(("default", "allowed"), [("SameNamespace", {ALICE, BOB}), ("Deny", set())])
def test_every_way_is_open_to_the_clients_of_the_mesh_s_default_only(
    mesh: LabHandle, default: str, allowed: set[str]
) -> None:
    mesh.apply(PARAMETERS.format(default=default))
    try:
        settle(mesh, lambda status: status["meshParameters"]["default"] == default)
        assert {client: ways(mesh, client) for client in CLIENTS} == only(allowed)
    finally:
        mesh.apply(PARAMETERS.format(default="Allow"))
        settle(mesh, lambda status: not status["protectedPods"])


def test_a_port_of_a_policy_is_the_pod_s_and_not_the_service_s(mesh: LabHandle, policy: Callable[[str], None]) -> None:
    policy(f"[{{sources: [{account('alice')}], networkAttributes: {{ports: [8080]}}}}]")
    assert ways(mesh, ALICE) == {**SERVED, "tls": "closed", "tcp": "no connection"}


def test_a_change_holds_for_kept_connections(mesh: LabHandle, policy: Callable[[str], None]) -> None:
    """Those of a client that it refuses may end before its next request."""
    policy(f"[{{sources: [{account('alice')}]}}]")
    listeners = mesh.status()["waypoint"]["listeners"]
    with asking(mesh, ALICE, 403) as alice, asking(mesh, BOB, 200) as bob:
        policy(f"[{{sources: [{account('bob')}]}}]")
    assert mesh.status()["waypoint"]["listeners"] == listeners
    assert (alice[0], alice[-1], {*alice} - {"ended"}) == (200, 403, {200, 403})
    assert (bob[0], bob[-1], set(bob)) == (403, 200, {200, 403})


def test_what_runs_for_a_client_ends_when_it_is_not_admitted_any_more(
    mesh: LabHandle, policy: Callable[[str], None]
) -> None:
    policy(f"[{{sources: [{account('*')}]}}]")
    with streams(mesh, ALICE, LONG) as kept, streams(mesh, BOB, LONG, ending=True) as revoked:
        policy(f"[{{sources: [{account('alice')}]}}]")
    assert kept == dict.fromkeys(LONG, "runs")
    assert revoked == dict.fromkeys(LONG, "ended")


def test_each_backend_of_a_split_has_its_own_policies(mesh: LabHandle, policy: Callable[[str], None]) -> None:
    policy(f"[{{sources: [{account('alice')}]}}]")
    ask = "import subprocess\nfor _ in range(40): print(subprocess.run(['curl', '-s', '-o', '/dev/null', '-w', "
    ask += "'%{http_code}', 'http://web.shop/split'], capture_output=True, text=True).stdout)"
    assert set(mesh.python(ALICE, ask).split()) == {"200"}
    assert set(mesh.python(BOB, ask).split()) == {"200", "403"}


def test_explain_names_the_policy_that_refuses_at_the_waypoint(mesh: LabHandle, policy: Callable[[str], None]) -> None:
    policy(f"[{{sources: [{account('alice')}]}}]")
    for client, status in ((ALICE, None), (BOB, 403)):
        (share,) = explain(mesh, client, "http://web.shop/")["waypoint"]["shares"]
        assert (share["status"], share["policies"]) == (status, ["AuthorizationPolicy shop/web"])
        found = explain(mesh, client, "http://web.shop/", "--live")["live"]
        assert (found["status"], found["differences"]) == (status or 200, [])
        assert status is None or found["details"] == "rbac_access_denied_matched_policy[shop/web]"


def test_a_server_that_starts_and_a_client_that_starts_are_known(
    mesh: LabHandle, policy: Callable[[str], None]
) -> None:
    policy(f"[{{sources: [{account('alice')}]}}]")
    for name in ("shop/web", "shop/alice"):
        old = next(pod for pod in mesh.status()["pods"] if pod["pod"].startswith(f"{name}-"))
        namespace, pod = old["pod"].split("/")
        meta = f"metadata: {{name: {pod}, namespace: {namespace}}}"
        mesh.delete(f"{{apiVersion: v1, kind: Pod, {meta}, spec: {{containers: []}}}}")
        # The pod that replaces it may have its name.
        settle(mesh, lambda status, gone=old["cgroup"]: gone not in {item["cgroup"] for item in status["pods"]})
        mesh.wait_ready()
        settle(mesh, lambda _: True)
    assert (ways(mesh, ALICE), ways(mesh, BOB)) == (SERVED, FORBIDDEN | UNCONNECTED)


def test_policies_hold_while_the_agent_is_away_and_comes_back(mesh: LabHandle, policy: Callable[[str], None]) -> None:
    policy(f"[{{sources: [{account('alice')}]}}]")
    with asking(mesh, ALICE, 403) as alice, asking(mesh, BOB, 200) as bob:
        mesh.agent_stop(kill=True)
        mesh.agent_start()
        settle(mesh, lambda status: bool(status["protectedPods"]))
    assert (set(alice), set(bob)) == ({200}, {403})
