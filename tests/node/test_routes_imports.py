"""ServiceImports in a real node: a cluster set IP, endpoints by manifests, Routes to and from them."""

import collections
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.ir.tables import host_port
from support.node.explain import explain
from support.node.l4_route import TCP
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, get, settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

NAME = "echo.app.svc.clusterset.local"
ECHO = "{group: multicluster.x-k8s.io, kind: ServiceImport, name: echo, port: %d}"


class Imported(NamedTuple):
    """Addresses of imports in a family: their range, those of `echo` and `elsewhere`, one outside of the cluster."""

    cidr: str
    echo: str
    elsewhere: str
    external: str


IPV4 = Imported("10.112.0.0/16", "10.112.0.1", "10.112.0.2", "203.0.113.7")
IPV6 = Imported("fd00:10:112::/112", "fd00:10:112::1", "fd00:10:112::2", "2001:db8::7")
CIDR = """
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {{name: kubernetes}}
spec: {{cidrs: ['{cidr}']}}
"""


def addresses(mesh: LabHandle) -> Imported:
    return IPV4 if mesh.has_ipv4 else IPV6


def service_import(name: str, listed: str, endpoint: str) -> str:
    """An import that one pod stands behind."""
    return f"""
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {{name: {name}, namespace: app}}
spec:
  type: ClusterSetIP
  ips: {listed}
  ports: [{{name: http, port: 80}}, {{name: tcp, port: 9090}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: imported-{name}, namespace: app, labels: {{multicluster.kubernetes.io/service-name: {name}}}}}
addressType: {"IPv6" if ":" in endpoint else "IPv4"}
ports: [{{name: http, port: 8080}}, {{name: tcp, port: 9090}}]
endpoints: [{{addresses: ['{endpoint}']}}]
"""


def split(kind: str, parent: str, port: int, local: int, imported: int) -> str:
    """A Route that divides between the Service v1 and the import whose pod is of v2."""
    backend = ECHO.replace("echo", "elsewhere") % port
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: r, namespace: app}}
spec:
  parentRefs: [{parent}]
  rules:
  - backendRefs: [{{name: v1, port: {port}, weight: {local}}}, {{{backend.strip("{}")}, weight: {imported}}}]
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, with the imports `echo`, of a pod of v1, and `elsewhere`, of one of v2."""
    lab = make_lab("imports", [Path(__file__).with_name("routes.yaml")], agent=True)
    pods = {pod["pod"].removeprefix("app/")[:2]: pod["addresses"][0] for pod in lab.status()["pods"]}
    there = addresses(lab)
    echo = service_import("echo", json.dumps([there.echo]), pods["v1"])
    elsewhere = service_import("elsewhere", json.dumps([there.elsewhere]), pods["v2"])
    lab.apply("---".join((CIDR.format(cidr=there.cidr), echo, elsewhere)))
    settle(lab, lambda status: sum("clusterset" in item["service"] for item in status["frontends"]) == 4)
    return lab


@pytest.fixture
def routed(mesh: LabHandle, request: pytest.FixtureRequest) -> Iterator[LabHandle]:
    """The mesh while a Route is there."""
    mesh.apply(request.param)
    settle(mesh, lambda status: bool(status["routes"]))
    yield mesh
    mesh.delete(request.param)
    settle(mesh, lambda status: not status["routes"])


def test_without_a_route_its_own_endpoints_answer_at_its_address_and_name(mesh):
    there = addresses(mesh)
    assert {get(mesh, f"http://{host}/").pod for host in (host_port(there.echo, 80), NAME)} == {"v1"}
    assert get(mesh, f"http://{host_port(there.elsewhere, 80)}/").pod == "v2"


@pytest.mark.parametrize("routed", [split("HTTPRoute", ECHO % 80, 80, 3, 1)], indirect=True)
def test_an_httproute_of_an_import_divides_requests_between_a_service_and_an_import(routed):
    found = collections.Counter(get(routed, f"http://{NAME}/").pod for _ in range(240))
    assert set(found) == {"v1", "v2"}
    assert 146 <= found["v1"] <= 211  # 240 at 75 %: two-sided bounds at 1e-6


@pytest.mark.parametrize("routed", [split("TCPRoute", ECHO % 9090, 9090, 1, 3)], indirect=True)
def test_a_tcproute_of_an_import_divides_connections(routed):
    program = TCP.format(count=600, port=9090).replace("echo.app", NAME)
    found = json.loads(routed.python(CLIENT, program))
    explained = explain(routed, CLIENT, f"{NAME}:9090")
    assert (explained["service"], explained["sources"][0]["object"]) == ("app/echo.clusterset", "TCPRoute app/r")
    assert {item["pod"].partition("-")[0]: item["share"] for item in explained["outcomes"]} == {
        "app/v1": 0.25,
        "app/v2": 0.75,
    }
    assert set(found) == {"v1", "v2"}
    assert 100 <= found["v1"] <= 204  # 600 at 25 %: two-sided bounds at 1e-6


SERVICE_PARENT = '{group: "", kind: Service, name: echo, port: 9090}'


@pytest.mark.parametrize("routed", [split("TCPRoute", SERVICE_PARENT, 9090, 0, 1)], indirect=True)
def test_an_import_takes_all_of_a_service_s_connections(routed):
    assert json.loads(routed.python(CLIENT, TCP.format(count=20, port=9090))) == {"v2": 20}


@pytest.mark.parametrize("routed", [split("HTTPRoute", ECHO.replace("echo", "gone") % 80, 80, 1, 1)], indirect=True)
def test_a_parent_that_is_not_there_is_told(routed):
    (route,) = routed.status()["routes"]
    (parent,) = route["parents"]
    conditions = {item["type"]: (item["status"], item["reason"]) for item in parent["conditions"]}
    assert parent["parent"] == "ServiceImport gone:80"
    assert conditions == {"Accepted": ("False", "NoMatchingParent"), "ResolvedRefs": ("True", "ResolvedRefs")}


def test_an_import_of_anybody_s_address_takes_nobody_s_connections(mesh):
    """Another's pod, and a host outside: their addresses stay theirs, whatever an import in another namespace says."""
    victim, thief = (
        next(pod["addresses"][0] for pod in mesh.status()["pods"] if pod["pod"].startswith(f"app/{name}"))
        for name in ("v1", "v2")
    )
    external = addresses(mesh).external
    greedy = service_import("greedy", json.dumps([victim, external]), thief).replace(
        "namespace: app", "namespace: other"
    )
    greedy = greedy.replace("port: 80}", "port: 8080}")
    mesh.apply(greedy)
    mesh.wait_for("it is reported", lambda: len(refused(mesh)) == 2)
    assert all("ServiceImport other/greedy: spec.ips: " in text for text in refused(mesh))
    assert get(mesh, f"http://{host_port(victim, 8080)}/").pod == "v1"
    outcomes = explain(mesh, CLIENT, host_port(external, 8080))["outcomes"]
    assert [item["reason"] for item in outcomes] == ["no_frontend"]
    mesh.delete(greedy)


def refused(mesh: LabHandle) -> list[str]:
    return [text for text in mesh.status()["warnings"] if "greedy" in text and "is not used" in text]
