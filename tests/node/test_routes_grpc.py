"""GRPCRoutes with a real gRPC client, on one connection."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "ipv6")]

CALLS = """
import collections, grpc, json, sys
found = collections.Counter()
with grpc.insecure_channel("echo.app:7070") as channel:
    for method, metadata, times in {calls}:
        call = channel.unary_unary(method, lambda m: m, lambda m: m)
        for _ in range(times):
            try:
                body = call(b"", metadata=metadata, timeout=8)
                found[json.loads(body)["pod"].split("-")[0]] += 1
            except grpc.RpcError as error:
                found[error.code().name] += 1
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests."""
    return make_lab("grpc", [Path(__file__).with_name("routes.yaml")], agent=True)


@pytest.fixture
def route(mesh: LabHandle) -> Iterator[Callable[[str], None]]:
    """Apply a GRPCRoute on port 7070 and wait until it works; it is deleted after the test."""
    applied: list[str] = []

    def apply(rules: str) -> None:
        manifest = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: r, namespace: app}}
spec:
  parentRefs: [{{group: "", kind: Service, name: echo, sectionName: grpc}}]
  rules: {rules}
"""
        mesh.apply(manifest)
        applied.append(manifest)
        settle(mesh, lambda status: bool(status["routes"]))

    yield apply
    for manifest in applied:
        mesh.delete(manifest)
    settle(mesh, lambda status: not status["routes"])


def calls(mesh: LabHandle, *wanted: tuple[str, tuple[tuple[str, str], ...], int]) -> Any:
    """Who answered calls of (method, metadata, times), or with what code they failed."""
    return json.loads(mesh.python(CLIENT, CALLS.format(calls=list(wanted))))


@pytest.mark.feature(
    "GRPCRoute: match, service", "GRPCRoute: match, service and method", "GRPCRoute: match, header exact"
)
def test_matches_by_service_method_and_header(mesh, route):
    route("""
    - {matches: [{method: {service: app.Echo, method: Say}}], backendRefs: [{name: v1, port: 7070}]}
    - {matches: [{method: {service: app.Echo}}], backendRefs: [{name: v2, port: 7070}]}
    - {matches: [{headers: [{name: version, value: two}]}], backendRefs: [{name: v2, port: 7070}]}
    """)
    assert calls(mesh, ("/app.Echo/Say", (), 3)) == {"v1": 3}
    assert calls(mesh, ("/app.Echo/Other", (), 3)) == {"v2": 3}
    assert calls(mesh, ("/x.Y/Z", (("version", "two"),), 3)) == {"v2": 3}
    assert calls(mesh, ("/x.Y/Z", (), 2)) == {"UNIMPLEMENTED": 2}


def test_an_invalid_backend_is_unavailable(mesh, route):
    route("[{backendRefs: [{name: nobody, port: 7070}]}]")
    assert calls(mesh, ("/app.Echo/Say", (), 2)) == {"UNAVAILABLE": 2}


@pytest.mark.feature("GRPCRoute: backends, weights")
def test_weights_hold_for_the_calls_of_one_connection(mesh, route):
    route(
        "[{backendRefs: [{name: v1, port: 7070, weight: 70}, {name: v2, port: 7070, weight: 30}, "
        "{name: nobody, port: 7070, weight: 0}]}]"
    )
    found = calls(mesh, ("/app.Echo/Say", (), 1000))
    assert set(found) == {"v1", "v2"}
    assert 627 <= found["v1"] <= 770  # 1000 at 70 %: two-sided bounds at 1e-6
