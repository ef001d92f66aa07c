"""The agent and the network namespace helper with the capabilities of their containers, and no others."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli.lab import wait_agent
from agent.kernel.cgroups import processes
from agent.kernel.privileges import AGENT_CAPABILITIES
from agent.lab import cgroups, launch, lifecycle, weft
from agent.lab.paths import LabPaths
from agent.lab.patience import patient
from support.datapath.netns_helper import NetnsHelper
from support.node.first_node import LAYOUTS, MESH, FirstNode, pods
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.privileges import of_container, with_only

pytestmark = pytest.mark.node

PROGRAMS = Path(__file__).parent / "programs"
PODS = 20
ALICE, BOB = "shop/alice", "shop/bob"
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: {app}, namespace: shop}}
spec:
  targetRefs: [{{kind: Pod, selector: {{matchLabels: {{app: {app}}}}}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: [{{sources: [{{type: ServiceAccount, serviceAccount: {{namespace: shop, name: {account}}}}}]}}]
"""
CONNECT = """
import socket
with socket.socket() as client:
    client.settimeout(5)
    print(client.connect_ex(("{host}", 9090)))
"""
# Connects, and prints the errno at which the connection ends.
KEEP = """
import socket
client = socket.create_connection(("{host}", 9090), timeout=60)
print("begun", flush=True)
try:
    client.recv(1)
    print(0)
except OSError as error:
    print(error.errno)
"""


class RestrictedLab:
    """A lab whose agent and helper run as in their containers."""

    def __init__(self, lab: LabHandle) -> None:
        self.lab, self.paths = lab, lab.paths
        self.socket = self.paths.state / "helper.sock"

    def start_helper(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [sys.executable, "-m", "agent.kernel.netns", f"--socket={self.socket}"]
        self._start("netns", [*command, f"--kubepods={self.paths.kubepods}"])
        self.lab.wait_for("the helper starts", self.socket.exists)

    def stop_helper(self) -> None:
        os.kill(int(self.paths.pidfile("netns").read_text()), signal.SIGKILL)
        cgroups.wait_empty(self.paths.system_cgroup("netns"), patient(10))

    def start_agent(self) -> None:
        self._start("agent", [*weft.agent_command(self.paths), f"--netns-helper={self.socket}"])
        self.lab.wait_for("the agent starts", self.lab.agent_runs)
        wait_agent(self.paths)

    def _start(self, container: str, command: list[str]) -> None:
        context = launch.ExecContext(
            self.paths.system_cgroup(container), self.paths.node_netns, pidfile=self.paths.pidfile(container)
        )
        launch.start_apart(context, [*with_only(of_container(container)), *command], self.paths.log(container))

    def address(self) -> str:
        """The address of the server's pod."""
        return str(next(p for p in self.lab.status()["pods"] if p["pod"].startswith("shop/web-"))["addresses"][0])

    def dial(self, client: str) -> int:
        """The errno of a client that connects to the server."""
        return int(self.lab.python(client, CONNECT.format(host=self.address())))

    def guards(self) -> dict[str, str]:
        """The states of the guards of protected pods, by the names of their Deployments."""
        return {p["pod"].split("/")[1].split("-")[0]: p["guard"] for p in self.lab.status()["protectedPods"]}

    @contextmanager
    def policy(self, app: str, account: str) -> Iterator[None]:
        """A policy by which only this account may connect to the pods of an app."""
        text = POLICY.format(app=app, account=account)
        self.lab.apply(text)
        yield
        self.lab.delete(text)
        settle(self.lab, lambda _: app not in self.guards())


@pytest.fixture(scope="module")
def lab(make_lab: LabFactory) -> LabHandle:
    """A server and clients, and an agent that was started with all capabilities."""
    return make_lab("caps", [Path(__file__).parent / "authorization.yaml"], agent=True)


@pytest.fixture(scope="module")
def restricted(lab: LabHandle) -> RestrictedLab:
    lab.agent_stop()
    made = RestrictedLab(lab)
    made.start_helper()
    made.start_agent()
    return made


def threads(paths: LabPaths, what: str) -> Iterator[dict[str, str]]:
    """The status of each thread of a process of the node."""
    for thread in Path("/proc", paths.pidfile(what).read_text().strip(), "task").iterdir():
        yield dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())


def test_an_agent_that_was_started_with_all_capabilities_keeps_few(lab: LabHandle) -> None:
    mask = sum(1 << capability for capability in AGENT_CAPABILITIES)
    found = [(int(status["CapPrm"], 16), status["NoNewPrivs"]) for status in threads(lab.paths, "agent")]
    assert len(found) > 1
    assert set(found) == {(mask, "1")}


def test_the_helper_of_an_agent_goes_with_it(lab: LabHandle) -> None:
    cgroup = lab.paths.system_cgroup("agent")
    commands = [(process / "cmdline").read_bytes() for process in processes(cgroup)]
    assert sum(b"agent.kernel.netns" in command for command in commands) == 1
    lab.agent_stop(kill=True)
    assert list(processes(cgroup)) == []
    lab.agent_start()


def test_a_pod_is_guarded_and_a_connection_that_is_not_admitted_any_more_ends(restricted: RestrictedLab) -> None:
    with restricted.policy("web", "alice"):
        settle(restricted.lab, lambda _: restricted.guards() == {"web": "attached"})
        assert (restricted.dial(ALICE), restricted.dial(BOB)) == (0, errno.ECONNREFUSED)
        program = KEEP.format(host=restricted.address())
        command, environment = lifecycle.exec_command(restricted.paths, ALICE, [sys.executable, "-c", program])
        with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as kept:
            assert kept.stdout is not None
            assert kept.stdout.readline() == "begun\n"
            restricted.lab.apply(POLICY.format(app="web", account="bob"))
            assert int(kept.communicate(timeout=patient(60))[0]) == errno.ECONNRESET
        assert (restricted.dial(ALICE), restricted.dial(BOB)) == (errno.ECONNREFUSED, 0)


def test_a_helper_that_is_away_is_reported_and_disturbs_nobody(restricted: RestrictedLab) -> None:
    status = [sys.executable, "-m", "agent", "status", "--state", str(restricted.paths.state)]
    lab, agent = restricted.lab, restricted.paths.pidfile("agent").read_text()
    with restricted.policy("web", "alice"):
        settle(lab, lambda _: restricted.guards() == {"web": "attached"})
        restricted.stop_helper()
        with restricted.policy("bob", "alice"):
            lab.wait_for("it is reported", lambda: "Connection refused" in lab.status()["netnsHelper"]["error"])
            lab.wait_for("the second pod is protected", lambda: "bob" in restricted.guards())
            guards = restricted.guards()
            assert guards["web"] == "attached"
            assert guards["bob"].startswith("not attached, trying again: the network namespace helper does not answer")
            assert (restricted.dial(ALICE), restricted.dial(BOB)) == (0, errno.ECONNREFUSED)
            shown = lab.node(*status, check=False)
            assert shown.returncode == 3
            assert "helper the network namespace helper does not answer" in shown.stdout
            assert lab.status()["reconciling"], "connections of clients that bob does not admit may not have ended"
            restricted.start_helper()
            settle(lab, lambda _: restricted.guards() == {"web": "attached", "bob": "attached"})
            assert lab.status()["netnsHelper"]["error"] == ""
    assert restricted.paths.pidfile("agent").read_text() == agent
    assert lab.agent_runs()


@pytest.fixture
def first_node(no_stale_labs: None, tmp_path: Path) -> Iterator[FirstNode]:
    subprocess.run(["tcc", "-o", tmp_path / "first", PROGRAMS / "first.c"], check=True)
    paths = LabPaths(f"t{os.getpid()}capsfirst")
    try:
        made = FirstNode(paths, next(iter(LAYOUTS)), tmp_path / "first")
        made.make()
        with made.servers():
            yield made
    finally:
        lifecycle.down(paths)


def test_pods_are_enrolled_before_their_first_instruction(first_node: FirstNode) -> None:
    helper = NetnsHelper(first_node.kubepods, before=with_only(of_container("netns")))
    try:
        found = pods(PODS)
        first_node.schedule(found)
        first_node.start_agent(f"--netns-helper={helper.socket}", before=with_only(of_container("agent")))
        assert first_node.begin(found) == [MESH] * PODS
    finally:
        helper.close()
