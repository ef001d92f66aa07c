"""`kubectl weft` and the patch that uninstalls, by a real kubectl against a real API server.

There are no kubelets here: what `kubectl exec` would run is printed instead.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builds
import pytest

from agent.kube.client import MERGE_PATCH
from support.apiserver.manifests import FOLDER, apply
from support.apiserver.objects import namespace, pod
from support.apiserver.process import Cluster

EXEC_PRINTS = """#!/bin/sh
case " $* " in
    *" exec "*" agent-{broken} "*) echo "$*"; exit 3 ;;
    *" exec "*) echo "$*" ;;
    *) exec {kubectl} "$@" ;;
esac
"""
RUN = "exec --namespace=weft-system --container=agent agent-{node} -- /opt/weft/bin/weft {command}"
DAEMONSET = "/apis/apps/v1/namespaces/weft-system/daemonsets/weft-agent"


@dataclass(frozen=True)
class Kubectl:
    """A user's kubectl, with the plugin on their PATH."""

    folder: Path
    kubeconfig: Path

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.folder),
        }
        command = [str(self.folder / "kubectl"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def installed(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Agents on two nodes, and on a third one that does not run; a pod on n2, and one that nobody has placed."""
    made = Cluster(tmp_path_factory.mktemp("kubectl"))
    try:
        made.start()
        apply(made, "base/namespace.yaml")
        for node, phase in (("n1", "Running"), ("n2", "Running"), ("n3", "Pending")):
            create_pod(
                made, "weft-system", pod(f"agent-{node}", node, **{"app.kubernetes.io/name": "weft-agent"}), phase
            )
        create_pod(made, "weft-system", pod("waypoint", "n1", **{"app.kubernetes.io/name": "weft-waypoint"}), "Running")
        made.request("POST", "/api/v1/namespaces", namespace("shop"))
        create_pod(made, "shop", pod("web", "n2"), "Running")
        create_pod(made, "shop", pod("unplaced", ""), "Pending")
        yield made
    finally:
        made.stop()


def create_pod(cluster: Cluster, space: str, body: dict[str, Any], phase: str) -> None:
    path = f"/api/v1/namespaces/{space}/pods"
    cluster.request("POST", path, body)
    cluster.request("PATCH", f"{path}/{body['metadata']['name']}/status", {"status": {"phase": phase}}, MERGE_PATCH)


@pytest.fixture
def kubectl(installed: Cluster, tmp_path: Path) -> Kubectl:
    """One that prints what it would run; on n1 it ends with 3, as when something is not as desired."""
    wrapper = tmp_path / "kubectl"
    wrapper.write_text(EXEC_PRINTS.format(kubectl=builds.built(builds.KUBERNETES, "kubectl"), broken="n1"))
    wrapper.chmod(0o755)
    shutil.copy(FOLDER / "kubectl-weft", tmp_path)
    return Kubectl(tmp_path, installed.kubeconfig())


def would_run(*runs: tuple[str, str]) -> str:
    return "".join(RUN.format(node=node, command=command) + "\n" for node, command in runs)


def test_every_node_with_an_agent_is_asked_and_the_worst_answer_counts(kubectl: Kubectl) -> None:
    done = kubectl("weft", "status", "-o", "json")
    assert done.stdout == would_run(("n1", "status -o json"), ("n2", "status -o json"))
    assert (done.stderr, done.returncode) == ("== n1\n== n2\n", 3)


def test_one_node_is_asked_without_a_heading(kubectl: Kubectl) -> None:
    for arguments in (("--node", "n2", "tables"), ("tables", "--node=n2")):
        done = kubectl("weft", *arguments)
        assert (done.stdout, done.stderr, done.returncode) == (would_run(("n2", "tables")), "", 0)


@pytest.mark.parametrize("question", ["--udp shop/web dns.shop:53", "--method POST shop/web http://cart.shop/v2/items"])
def test_a_pod_s_node_is_asked(question: str, kubectl: Kubectl) -> None:
    done = kubectl("weft", "explain", *question.split())
    assert (done.stdout, done.returncode) == (would_run(("n2", f"explain {question}")), 0), done.stderr


def test_one_agent_says_who_may_connect_and_that_of_the_pod_where(kubectl: Kubectl) -> None:
    done = kubectl("weft", "authz", "who-can", "shop/web", "--port", "80")
    assert (done.stdout, done.stderr) == (would_run(("n1", "authz who-can shop/web --port 80")), "")
    done = kubectl("weft", "authz", "can-reach", "shop/web")
    assert (done.stdout, done.stderr) == (would_run(("n2", "authz can-reach shop/web")), "")


def test_top_of_several_nodes_ends(kubectl: Kubectl) -> None:
    assert kubectl("weft", "top").stdout == would_run(("n1", "top --once"), ("n2", "top --once"))
    assert kubectl("weft", "top", "--node=n2").stdout == would_run(("n2", "top"))


def test_flows_of_several_nodes_come_together(kubectl: Kubectl) -> None:
    done = kubectl("weft", "flows", "-n", "shop")
    wanted = would_run(("n1", "flows -n shop"), ("n2", "flows -n shop")).splitlines()
    assert sorted(done.stdout.splitlines()) == [f"n1  {wanted[0]}", f"n2  {wanted[1]}"]
    assert kubectl("weft", "flows", "--last").stdout == would_run(("n1", "flows --last"), ("n2", "flows --last"))


def test_kubectl_s_own_options_are_kubectl_s(kubectl: Kubectl) -> None:
    done = kubectl("weft", "--context", "c", "status", "--node=n2", "--user=u")
    assert done.stdout == "--context c --user=u " + would_run(("n2", "status"))
    assert "nowhere" in kubectl("weft", "--context=nowhere", "status").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("detach",), "detach: must be one of status, explain, flows, top, tables, authz"),
        (("explain", "dns.shop:53"), "explain: give NAMESPACE/POD HOST:PORT|URL, or --node"),
        (("authz", "can-reach"), "authz can-reach: give NAMESPACE/POD, or --node"),
        (("explain", "shop/unplaced", "dns.shop:53"), "pod shop/unplaced is not scheduled to a node yet"),
        (("explain", "shop/none", "dns.shop:53"), 'pods "none" not found'),
        (("status", "--node=n3"), "no agent runs on n3"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_makes_no_sense_is_said(arguments: tuple[str, ...], message: str, kubectl: Kubectl) -> None:
    done = kubectl("weft", *arguments)
    assert message in done.stderr
    assert (done.stdout, bool(done.returncode)) == ("", True)


def test_the_patch_makes_agents_leave(installed: Cluster, kubectl: Kubectl) -> None:
    apply(installed, "base/agent.yaml")
    patch = ("--namespace=weft-system", "patch", "daemonset", "weft-agent")
    done = kubectl(*patch, f"--patch-file={FOLDER / 'uninstall.yaml'}")
    # A field that is not known would be a warning.
    assert (done.returncode, done.stderr) == (0, "")
    spec = installed.request("GET", DAEMONSET)["spec"]
    assert spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"
    pod_spec = spec["template"]["spec"]
    (container,) = pod_spec["containers"]
    assert "hostPID" not in pod_spec
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "livenessProbe" not in container
    assert set(container["readinessProbe"]) & {"exec", "httpGet"} == {"exec"}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    hosts = {volume["name"]: volume["hostPath"]["path"] for volume in pod_spec["volumes"]}
    assert {path: hosts[name] for path, name in mounts.items()} == {"/host/run": "/run", "/host/bpf": "/sys/fs/bpf"}
    assert container["image"] == "weft.dev/weft"
