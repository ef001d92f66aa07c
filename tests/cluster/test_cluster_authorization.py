"""AuthorizationPolicies on a real Kubernetes: clients on both nodes, real probes, servers that start protected, and
connections that are open when a policy comes.
"""

import json
import re
import subprocess
from collections.abc import Iterator

import api_server
import cluster
import images
import install
import installed
import pytest
import weft_image
from cluster import NODES
from installed import UP
from load import PYTHON
from weft_processes import until

pytestmark = pytest.mark.cluster

SPACE = "vault"
ACCOUNTS = ("alice", "bob")
SERVER = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server}}
spec:
  selector: {{matchLabels: {{app: server}}}}
  template:
    metadata: {{labels: {{app: server}}}}
    spec:
      terminationGracePeriodSeconds: 0
      nodeName: {NODES[0].name}
      containers:
        - name: echo
          image: {images.ECHO}
          args: [--port=8080]
          ports: [{{name: http, containerPort: 8080}}]
          startupProbe: {{tcpSocket: {{port: http}}, periodSeconds: 1}}
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
          livenessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: server}}
spec:
  selector: {{app: server}}
  publishNotReadyAddresses: true
  ports: [{{port: 80, targetPort: 8080}}]
---
"""
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: client}}}}
spec:
  serviceAccountName: {account}
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: echo, image: {image}, args: [--port=8080]}}]
---
"""
# The only image with Python.
IDLE = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  serviceAccountName: alice
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: {image}, command: [{python}, -c, "import time; time.sleep(1e6)"]}}]
---
"""
# One request; then says what becomes of the connection.
HOLD = """
import socket
with socket.create_connection(("{host}", {port}), 10) as made:
    made.sendall(b"GET / HTTP/1.1\\r\\nHost: server\\r\\n\\r\\n")
    made.settimeout(60)
    try:
        made.recv(1)
        print("answered", flush=True)
        while made.recv(65536):
            pass
        print("closed")
    except OSError as error:
        print(type(error).__name__)
"""
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: server}}
spec:
  targetRefs: [{{kind: Pod, selector: {{matchLabels: {{app: server}}}}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: {rules}
"""
REQUESTS = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: server}
spec:
  targetRefs: [{kind: Service, name: server}]
  action: ALLOW
  enforcementLevel: Application
  rules:
    - sources: [{type: ServiceAccount, serviceAccount: {name: alice}}]
      httpAttributes: {methods: [GET], paths: [{type: PathPrefix, value: /open}]}
"""
CLIENTS = [f"{account}-{number}" for account in ACCOUNTS for number, _ in enumerate(NODES)]
IDLE_CLIENTS = [f"idle-{number}" for number, _ in enumerate(NODES)]
ALICE, BOB = (f"[{{sources: [{{type: ServiceAccount, serviceAccount: {{name: {name}}}}}]}}]" for name in ACCOUNTS)
CONNECTIONS = 4000


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl(f"--namespace={SPACE}", *arguments, stdin=stdin)


@pytest.fixture(scope="module")
def addresses() -> Iterator[list[str]]:
    """A cluster with weft, and in a namespace without a mesh a server and clients on both nodes: the addresses of the
    server's Service and pod.
    """
    subprocess.run(UP, check=True)
    try:
        install.install()
        cluster.kubectl("create", "namespace", SPACE)
        for account in ACCOUNTS:
            kubectl("create", "serviceaccount", account)
        made = [
            CLIENT.format(name=f"{account}-{number}", account=account, node=node.name, image=images.ECHO)
            for account in ACCOUNTS
            for number, node in enumerate(NODES)
        ]
        image = f"{weft_image.NAME}:{weft_image.tag()}"
        made += [
            IDLE.format(name=name, node=node.name, image=image, python=PYTHON)
            for name, node in zip(IDLE_CLIENTS, NODES, strict=True)
        ]
        kubectl("apply", "-f", "-", stdin=SERVER + "".join(made))
        kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all")
        service = kubectl("get", "service", "server", "--output=jsonpath={.spec.clusterIP}")
        pod = kubectl("get", "pods", "--selector=app=server", "--output=jsonpath={.items[0].status.podIP}")
        until("kube-proxy has the Service on both nodes", lambda: all(_answers(client, service) for client in CLIENTS))
        yield [service, f"{pod}:8080"]
    finally:
        cluster.down()


def admitted(addresses: list[str]) -> set[str]:
    """The clients that reach the server at each of its addresses; those that reach it at one only are an error."""
    found = set()
    for client in CLIENTS:
        answers = [_answers(client, address) for address in addresses]
        assert len(set(answers)) == 1, (client, answers)
        found |= {client} if all(answers) else set()
    return found


def _answers(client: str, url: str) -> bool:
    try:
        text = kubectl("exec", client, "--", "client", f"http://{url}", "--count=1", "--timeout=5s")
    except subprocess.CalledProcessError:
        return False
    return "Hostname=" in text


def apply(rules: str) -> None:
    """Set the policy, and wait until the server's node has it."""
    before = protected()
    kubectl("apply", "-f", "-", stdin=POLICY.format(rules=rules))
    until("the node has the policy", lambda: protected() not in ([], before))
    until("the node is in step", lambda: not installed.status(NODES[0].name)["reconciling"])


def protected() -> list[str]:
    """The policy sets of the server's pods on their node."""
    return [pod["policySet"] for pod in installed.status(NODES[0].name).get("protectedPods", [])]


def restarts() -> str:
    return kubectl(
        "get", "pods", "--selector=app=server", "--output=jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    )


def test_without_a_policy_every_client_is_admitted(addresses: list[str]) -> None:
    assert admitted(addresses) == {"alice-0", "alice-1", "bob-0", "bob-1"}


def test_only_the_account_that_is_named_is_admitted_on_both_nodes(addresses: list[str]) -> None:
    apply(ALICE)
    until("clients of the other node are known", lambda: _answers("alice-1", addresses[0]))
    assert admitted(addresses) == {"alice-0", "alice-1"}
    status = json.loads(kubectl("get", "authorizationpolicy", "server", "--output=json"))["status"]
    assert {item["type"]: item["status"] for item in status["ancestors"][0]["conditions"]}["Accepted"] == "True"


def test_probes_pass_although_nobody_is_admitted(addresses: list[str]) -> None:
    apply("[]")
    assert admitted(addresses) == set()
    # Longer than the three probes that would fail before a pod is restarted.
    with pytest.raises(subprocess.CalledProcessError):
        kubectl("wait", "--for=condition=Ready=False", "--timeout=8s", "pod", "--selector=app=server")
    assert restarts() == "0"


def test_connections_of_both_nodes_end_when_their_account_is_not_admitted_any_more(addresses: list[str]) -> None:
    apply(ALICE)
    until("clients of the other node are known", lambda: _answers("alice-1", addresses[0]))
    host, port = addresses[1].split(":")
    hold = (PYTHON, "-c", HOLD.format(host=host, port=port))
    clients = [
        subprocess.Popen(
            api_server.command(f"--namespace={SPACE}", "exec", name, "--", *hold), stdout=subprocess.PIPE, text=True
        )
        for name in IDLE_CLIENTS
    ]
    for client in clients:
        assert client.stdout
        assert client.stdout.readline() == "answered\n"
    apply(BOB)
    assert [client.communicate()[0] for client in clients] == ["ConnectionResetError\n"] * len(NODES)
    until("clients of the other node are known", lambda: _answers("bob-1", addresses[0]))
    assert admitted(addresses) == {"bob-0", "bob-1"}


def test_a_server_that_starts_admits_no_other_account_before_its_policy(addresses: list[str]) -> None:
    """Clients connect all the time, also at the moment at which a server begins to listen."""
    apply(ALICE)
    argv = ("client", f"http://{addresses[0]}/", f"--count={CONNECTIONS}", "--qps=200", "--timeout=100s")
    clients = [
        subprocess.Popen(
            api_server.command(f"--namespace={SPACE}", "exec", f"bob-{number}", "--", *argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, _ in enumerate(NODES)
    ]
    starts = 0
    while any(process.poll() is None for process in clients):
        kubectl("delete", "pods", "--selector=app=server", "--wait")
        kubectl("wait", "--for=condition=Available", "--timeout=60s", "deployment", "server")
        starts += 1
    texts = [process.communicate()[0] for process in clients]
    assert [re.findall(r"Hostname=\S+", text) for text in texts] == [[]] * len(NODES)
    assert all("refused" in text for text in texts), [text[-500:] for text in texts]
    assert starts > 1
    assert [pod["guard"] for pod in installed.status(NODES[0].name)["protectedPods"]] == ["attached"]


def test_requests_of_both_nodes_are_judged_by_waypoints_and_no_other_way_leads_to_the_pod(addresses: list[str]) -> None:
    kubectl("delete", "authorizationpolicy", "server")
    cluster.kubectl("label", "namespace", SPACE, "weft.dev/mode=l7")
    kubectl("apply", "-f", "-", stdin=REQUESTS)
    service, pod = addresses
    allowed, others = f"{service}/open/door", (f"{service}/closed", f"{pod}/open/door")
    until("alice's requests are served", lambda: all(_answers(f"alice-{number}", allowed) for number in (0, 1)))
    until("nobody else's are", lambda: not any(_answers(f"bob-{number}", allowed) for number in (0, 1)))
    until("the pod admits no client", lambda: not any(_answers(client, others[1]) for client in CLIENTS))
    served = {(client, url) for client in CLIENTS for url in (allowed, *others) if _answers(client, url)}
    assert served == {("alice-0", allowed), ("alice-1", allowed)}
