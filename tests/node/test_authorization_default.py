"""The default of MeshParameters on a node: pods that no policy selects, and parameters that are lost or invalid."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.ir.tables import host_port
from support.node.connecting import (
    ADMITTED,
    ALICE,
    BOB,
    CAROL,
    CLIENTS,
    HTTP,
    KEEP_CONNECTING,
    POLICY,
    REFUSED,
    TCP,
    account,
    addresses,
    connects,
    running,
)
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "dual")]

PARAMETERS = """
apiVersion: weft.dev/v1alpha1
kind: MeshParameters
metadata: {{name: {name}}}
spec: {spec}
"""
XMESH = """
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XMesh
metadata: {{name: weft}}
spec:
  controllerName: weft.dev/mesh-controller
  parametersRef: {{group: weft.dev, kind: MeshParameters, name: {name}}}
"""
SAME = "{authorization: {default: SameNamespace}}"
DENY = "{authorization: {default: Deny}}"
ALLOW = "{authorization: {default: Allow}}"


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return make_lab("closed", [Path(__file__).with_name("authorization.yaml")], agent=True)


@pytest.fixture(autouse=True)
def restored(mesh: LabHandle) -> Iterator[None]:
    """Afterwards every pod admits every client. Only other parameters open pods again, not the lack of any."""
    yield
    for text in (POLICY.format(rules="[]"), XMESH.format(name="a")):
        mesh.delete(text)
    apply(mesh, ALLOW)
    settle(mesh, lambda status: not status["protectedPods"])


def apply(mesh: LabHandle, spec: str, name: str = "default") -> None:
    mesh.apply(PARAMETERS.format(name=name, spec=spec))


def only(source: str) -> str:
    """Rules that admit one source."""
    return f"[{{sources: [{source}]}}]"


def in_force(mesh: LabHandle, default: str, problem: str = "") -> Callable[[dict[str, Any]], bool]:
    """Whether this default is in force, with a problem that contains this text."""

    def look(status: dict[str, Any]) -> bool:
        found = status["meshParameters"]
        return found["default"] == default and problem in found["problem"] and bool(problem) == bool(found["problem"])

    return look


def reached(mesh: LabHandle) -> dict[str, frozenset[int]]:
    return {client: connects(mesh, client) for client in CLIENTS}


def weft(mesh: LabHandle, *words: str) -> subprocess.CompletedProcess[str]:
    return mesh.node(sys.executable, "-m", "agent", *words, "--state", str(mesh.paths.state), check=False)


def test_clients_of_the_same_namespace_whatever_their_mode_and_address(mesh: LabHandle):
    assert reached(mesh) == dict.fromkeys(CLIENTS, ADMITTED)
    assert mesh.status()["protectedPods"] == []
    apply(mesh, SAME)
    settle(mesh, in_force(mesh, "SameNamespace"))
    assert reached(mesh) == {ALICE: ADMITTED, BOB: ADMITTED, CAROL: REFUSED}
    assert "MeshParameters default; default for pods without policies: SameNamespace" in weft(mesh, "status").stdout
    apply(mesh, "{authorization: {default: SameNamespace, exemptNamespaces: [shop]}}")
    settle(mesh, lambda status: all(not pod["pod"].startswith("shop/") for pod in status["protectedPods"]))
    assert connects(mesh, CAROL) == ADMITTED


def test_a_policy_replaces_the_default_for_the_pods_that_it_selects(mesh: LabHandle):
    apply(mesh, DENY)
    settle(mesh, in_force(mesh, "Deny"))
    mesh.apply(POLICY.format(rules=only(account("carol", "bank"))))
    settle(mesh, lambda status: any("web" in pod["policies"] for pod in status["protectedPods"]))
    assert reached(mesh) == {ALICE: REFUSED, BOB: REFUSED, CAROL: ADMITTED}


def test_nobody_but_the_probes_of_the_kubelet(mesh: LabHandle):
    apply(mesh, DENY)
    settle(mesh, in_force(mesh, "Deny"))
    assert reached(mesh) == dict.fromkeys(CLIENTS, REFUSED)
    explained = weft(mesh, "explain", ALICE, "web.shop:9090").stdout
    assert "refuses it (ECONNREFUSED), by the default of MeshParameters default, because no policy" in explained
    host = addresses(mesh)[0]
    probed, other = (
        mesh.node("curl", "-sS", "-m", "5", f"http://{host_port(host, port)}/", check=False).returncode
        for port in (HTTP, TCP)
    )
    assert (probed, other) == (0, 7), "curl's 7: connection refused"
    mesh.wait_ready()


def test_spiffe_ids_are_of_the_trust_domain(mesh: LabHandle):
    apply(mesh, "{trustDomain: corp.example}")
    mesh.apply(POLICY.format(rules=only('{type: SPIFFE, spiffe: "spiffe://corp.example/ns/bank/sa/carol"}')))
    settle(mesh, lambda status: bool(status["protectedPods"]))
    assert reached(mesh) == {ALICE: REFUSED, BOB: REFUSED, CAROL: ADMITTED}
    apply(mesh, "{}")
    settle(mesh, lambda status: status["meshParameters"]["trustDomain"] == "cluster.local")
    assert reached(mesh) == dict.fromkeys(CLIENTS, REFUSED)


def test_parameters_that_become_invalid_stay_as_they_were(mesh: LabHandle):
    apply(mesh, SAME)
    settle(mesh, in_force(mesh, "SameNamespace"))
    apply(mesh, "{authorization: {default: Sometimes}}")
    settle(mesh, in_force(mesh, "SameNamespace", "MeshParameters default: spec.authorization.default"))
    assert weft(mesh, "status").returncode == 3
    assert reached(mesh) == {ALICE: ADMITTED, BOB: ADMITTED, CAROL: REFUSED}


@pytest.mark.parametrize("lost", ["parameters", "reference"])
def test_a_client_is_refused_all_the_time_while_the_parameters_are_gone_and_the_agent_starts_again(
    mesh: LabHandle, lost: str
):
    """Parameters that are deleted, and an XMesh that is: its reference to them is gone."""
    apply(mesh, SAME, "strict")
    mesh.apply(XMESH.format(name="strict"))
    settle(mesh, lambda status: status["meshParameters"]["name"] == "strict")
    mesh.delete(PARAMETERS.format(name="default", spec=ALLOW))
    host = addresses(mesh)[0]
    with running(mesh, CAROL, KEEP_CONNECTING.format(host=host, port=TCP)) as refused:
        if lost == "parameters":
            mesh.delete(PARAMETERS.format(name="strict", spec=SAME))
        else:
            mesh.delete(XMESH.format(name="strict"))
        gone = in_force(mesh, "SameNamespace", "does not exist")
        settle(mesh, gone)
        for kill in (True, False):
            mesh.agent_stop(kill=kill)
            mesh.agent_start()
            settle(mesh, gone)
        assert connects(mesh, ALICE) == ADMITTED
    assert set(refused) == REFUSED
    mesh.delete(PARAMETERS.format(name="strict", spec=SAME))
