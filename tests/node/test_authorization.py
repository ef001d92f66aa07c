"""AuthorizationPolicies on a node: who reaches a protected pod, whoever the client is and whatever address it dials."""

import errno
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.ir.tables import host_port
from agent.kernel.programs import Pins
from support.node.connecting import (
    ADMITTED,
    ALICE,
    BOB,
    CAROL,
    CLIENTS,
    CONNECT,
    HTTP,
    KEEP_CONNECTING,
    POLICY,
    REFUSED,
    TCP,
    account,
    addresses,
    connects,
    policy_of_server,
    running,
    server,
)
from support.node.explain import explain
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "dual")]

SEND = """
import socket
with socket.socket(socket.AF_INET6 if ":" in "{host}" else socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout({seconds})
    client.sendto(b"hello", ("{host}", 9091))
    try:
        print(len(client.recvfrom(2000)[0]) > 0)
    except TimeoutError:
        print(False)
"""
# Connects to the echo server, and prints the errno at which the connection ends; 0 when it is told to end before.
KEEP = """
import json, select, socket, sys
client = socket.create_connection(("{host}", {port}), timeout=5)
client.sendall(b"hello\\n")
assert client.makefile().readline()
print("begun", flush=True)
found = 0
if client in select.select([client, sys.stdin], [], [])[0]:
    try:
        assert client.recv(100), "closed, not reset"
    except OSError as error:
        found = error.errno
print(json.dumps([found]))
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return make_lab("authz", [Path(__file__).with_name("authorization.yaml")], agent=True)


@pytest.fixture
def policy(mesh: LabHandle) -> Iterator[Callable[[str], None]]:
    """Set the rules of the policy of the server's pods; afterwards there is none."""
    with policy_of_server(mesh) as apply:
        yield apply


def terminations(mesh: LabHandle) -> int:
    """How often the agent has ended connections."""
    return mesh.log("agent").count("terminated sockets")


def test_without_a_policy_everyone_reaches_everyone(mesh: LabHandle):
    assert {client: connects(mesh, client) for client in CLIENTS} == dict.fromkeys(CLIENTS, ADMITTED)
    assert mesh.status()["protectedPods"] == []


def test_only_the_account_that_is_named_reaches_the_pod_by_any_of_its_addresses(
    mesh: LabHandle, policy: Callable[[str], None]
):
    policy(f"[{{sources: [{account('alice')}]}}]")
    assert {client: connects(mesh, client) for client in CLIENTS} == {
        ALICE: ADMITTED,
        BOB: REFUSED,
        CAROL: REFUSED,
    }


def test_all_accounts_of_a_namespace_without_a_mesh(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{sources: [{account('*', 'bank')}]}}]")
    assert connects(mesh, CAROL) == ADMITTED
    assert connects(mesh, ALICE) == REFUSED


def test_any_client_at_one_port_of_the_pod(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{networkAttributes: {{ports: [{HTTP}]}}}}]")
    assert {client: connects(mesh, client, HTTP, 80) for client in CLIENTS} == dict.fromkeys(CLIENTS, ADMITTED)
    assert {client: connects(mesh, client) for client in CLIENTS} == dict.fromkeys(CLIENTS, REFUSED)


def test_a_policy_without_rules_refuses_everyone_but_the_probes_of_the_kubelet(
    mesh: LabHandle, policy: Callable[[str], None]
):
    policy("[]")
    assert {client: connects(mesh, client, HTTP, 80) for client in CLIENTS} == dict.fromkeys(CLIENTS, REFUSED)
    host = addresses(mesh)[0]
    probed = mesh.node("curl", "-sS", "-m", "5", f"http://{host_port(host, HTTP)}/", check=False)
    other = mesh.node("curl", "-sS", "-m", "5", f"http://{host_port(host, TCP)}/", check=False)
    assert (probed.returncode, other.returncode) == (0, 7), "curl's 7: connection refused"
    mesh.wait_ready()


def test_the_node_reports_which_policies_it_enforces(mesh: LabHandle, policy: Callable[[str], None]):
    def reported() -> tuple[str, list[dict[str, str]]]:
        found = [json.loads(path.read_text()) for path in (mesh.paths.state / "weftnodes").glob("*.json")]
        policies = [node["status"]["policies"] for node in found if "policies" in node["status"]]
        return (policies[0]["observed"], policies[0]["selecting"]) if policies else ("", [])

    mesh.wait_for("no policy is reported", lambda: reported()[0] != "" and reported()[1] == [])
    before, _ = reported()
    policy("[]")
    mesh.wait_for("the policy is reported", lambda: [item["name"] for item in reported()[1]] == ["web"])
    mesh.wait_for("the node has processed it", lambda: reported()[0] != before)
    assert reported()[1] == [{"namespace": "shop", "name": "web", "generation": 1}]


def test_a_pod_connects_to_itself(mesh: LabHandle, policy: Callable[[str], None]):
    policy("[]")
    assert connects(mesh, "shop/web") == ADMITTED
    assert mesh.python("shop/web", CONNECT.format(targets=[("127.0.0.1", TCP)])).split() == ["0"]


def test_datagrams_are_judged_as_connections_are(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{sources: [{account('alice')}]}}]")
    for host in addresses(mesh):
        assert mesh.python(ALICE, SEND.format(host=host, seconds=5)).strip() == "True"
        assert mesh.python(BOB, SEND.format(host=host, seconds=0.5)).strip() == "False"


def test_connections_end_when_their_clients_are_not_admitted_any_more_and_others_go_on(
    mesh: LabHandle, policy: Callable[[str], None]
):
    for host in addresses(mesh):
        policy(f"[{{sources: [{account('alice')}, {account('bob')}]}}]")
        program = KEEP.format(host=host, port=TCP)
        with running(mesh, ALICE, program) as kept, running(mesh, BOB, program) as revoked:
            ends = terminations(mesh)
            policy(f"[{{sources: [{account('alice')}]}}]")
            mesh.wait_for("a connection ends", lambda ends=ends: terminations(mesh) > ends)
        # Both programs end when their standard input does.
        assert (kept, revoked) == ([0], [errno.ECONNRESET])
        mesh.delete(POLICY.format(rules="[]"))
        settle(mesh, lambda status: not status["protectedPods"])


def test_the_client_s_node_refuses_by_the_name_of_the_policy_whatever_the_client_s_mode(
    mesh: LabHandle, policy: Callable[[str], None]
):
    policy(f"[{{sources: [{account('alice')}]}}]")
    host = addresses(mesh)[0]
    for client, target in ((BOB, "web.shop"), (BOB, host), (CAROL, host)):
        (outcome,) = explain(mesh, client, host_port(target, TCP))["outcomes"]
        assert (outcome["reason"], outcome["policy"]) == ("policy_forbids", "AuthorizationPolicy shop/web")
    before = policy_refusals(mesh)
    for client in (BOB, CAROL):
        assert mesh.python(client, CONNECT.format(targets=[(host, TCP)])).split() == [str(errno.ECONNREFUSED)]
    mesh.wait_for("both are counted", lambda: policy_refusals(mesh)["policy_forbids"] == before["policy_forbids"] + 2)
    after = policy_refusals(mesh)
    assert after["policy_refused"] == before["policy_refused"], "the server's node is not asked"


def policy_refusals(mesh: LabHandle) -> dict[str, float]:
    """The counts of refusals by policies, at the client's end and at the server's."""
    lines = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout.splitlines()
    counts = [line.rpartition(" ") for line in lines if line.startswith("weft_")]
    return {
        name: sum(float(count) for series, _, count in counts if f'"{name}"' in series)
        for name in ("policy_forbids", "policy_refused")
    }


def test_explain_says_which_policy_refuses(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{sources: [{account('alice')}]}}]")
    admissions = {}
    for client in (ALICE, BOB):
        (outcome,) = explain(mesh, client, "web.shop:9090")["outcomes"]
        admissions[client] = outcome["admission"]
    assert admissions == {client: {"admitted": client == ALICE, "policies": ["web"]} for client in (ALICE, BOB)}
    command = (sys.executable, "-m", "agent", "explain", BOB, "web.shop:9090", "--state", str(mesh.paths.state))
    text = mesh.node(*command).stdout
    assert "the pod refuses it (ECONNREFUSED), by AuthorizationPolicy web" in text


def test_the_agent_says_who_can_connect_as_clients_find(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{sources: [{account('alice')}]}}, {{networkAttributes: {{ports: [{HTTP}]}}}}]")
    command = (sys.executable, "-m", "agent", "authz")
    options = ("--state", str(mesh.paths.state), "-o", "json")
    for client in CLIENTS:
        found = json.loads(mesh.node(*command, "can-reach", client, *options).stdout)["targets"]
        allowed = {name: row["allowed"] for row in found for name in row["services"] if row["pods"] == ["shop/web"]}
        for port, service_port in ((HTTP, 80), (TCP, TCP)):
            errnos = connects(mesh, client, port, service_port)
            assert allowed[f"shop/web:{service_port}"] == (errnos == ADMITTED), (client, port)
            assert errnos in (ADMITTED, REFUSED)
    (row,) = json.loads(mesh.node(*command, "who-can", "shop/web", "--port", str(TCP), *options).stdout)["ports"]
    assert [(item["client"], item["rule"]) for item in row["clients"]] == [("shop/alice", 0)]


def test_policies_hold_while_no_agent_runs_and_while_it_comes_back(mesh: LabHandle, policy: Callable[[str], None]):
    policy(f"[{{sources: [{account('alice')}]}}]")
    host = addresses(mesh)[0]
    with (
        running(mesh, BOB, KEEP_CONNECTING.format(host=host, port=TCP)) as refused,
        running(mesh, ALICE, KEEP_CONNECTING.format(host=host, port=TCP)) as admitted,
    ):
        for _ in range(3):
            mesh.agent_stop(kill=True)
            mesh.agent_start()
            settle(mesh, lambda status: bool(status["protectedPods"]))
    assert (set(refused), set(admitted)) == (REFUSED, ADMITTED)
    assert len(list(Pins(mesh.paths.bpf).pod_guards.iterdir())) == 1


def test_the_pod_that_replaces_a_protected_one_is_protected(mesh: LabHandle, policy: Callable[[str], None]):
    policy("[]")
    before = server(mesh)
    namespace, name = before["pod"].split("/")
    mesh.delete(
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{containers: []}}}}"
    )
    settle(mesh, lambda _: server(mesh)["cgroup"] not in (None, before["cgroup"]))
    settle(mesh, lambda status: [pod["guard"] for pod in status["protectedPods"]] == ["attached"])
    mesh.wait_ready()
    assert connects(mesh, BOB) == REFUSED
