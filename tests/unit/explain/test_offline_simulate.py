"""`weft simulate`: which way a connection goes, and by the kernel to whom."""

from pathlib import Path

import pytest

from support.explain import MESH, ROUTE, SPECIAL, simulated, weft, write

TCP = """
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: split, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 5432}]
  rules: [{backendRefs: [{name: web, port: 5432, weight: 3}, {name: gone, port: 1, weight: 1}]}]
"""
CONSUMER = ROUTE.replace("{name: r, namespace: app}", "{name: mine, namespace: shop}").replace(
    "name: web, port: 80}]\n", "name: web, namespace: app, port: 80}]\n", 1
)


@pytest.mark.parametrize(
    ("pod", "url", "path", "why"),
    [
        ("plain/a", "http://web.app/", "none", "neither the Pod nor Namespace plain has the label"),
        ("app/a", "http://web/", "waypoint", "HTTPRoute app/r applies to this port, and the client is in mode l7"),
        ("shop/a", "http://web.app.svc.cluster.local./", "waypoint", "and the Service is in mode l7"),
        ("app/a", "http://web.app.svc:80", "waypoint", "HTTPRoute app/r"),
        ("app/a", "tcp://web:5432", "kernel", "no Route applies to this port"),
        ("app/a", "http://web:81/", "none", "is no Service's address and port"),
        ("app/a", "udp://web:80", "none", "is no Service's address and port"),
        ("app/a", "http://10.1.0.1:8080/", "none", "10.1.0.1:8080/TCP is no Service's address and port"),
        ("app/a", "http://[fd00::1]/", "none", "[fd00::1]:80/TCP is no Service's address and port"),
        ("shop/a", "http://web/", "none", "the manifests have no Service web"),
        ("app/a", "http://example.org/", "none", "the manifests have no Service example.org"),
        ("app/a", "http://headless/", "none", "is headless: weft ignores it"),
        ("app/a", "http://outside/", "none", "is an ExternalName"),
        ("plain/own", "http://web.app/", "waypoint", "the client is in mode l7"),
    ],
)
def test_which_way(folder: Path, pod: str, url: str, path: str, why: str) -> None:
    found = simulated(write(folder, route=ROUTE, special=SPECIAL), pod, url)
    assert found["path"] == path
    assert why in found["reason"]
    assert ("waypoint" in found, "backends" in found) == (path == "waypoint", path == "kernel")


def test_two_ends_in_mode_l4_do_without_an_httproute(folder: Path) -> None:
    write(folder, mesh=MESH.replace("weft.dev/mode: l7", "weft.dev/mode: l4"), route=ROUTE)
    found = simulated(folder, "shop/a", "http://web.app/")
    assert (found["path"], found["routes"]) == ("kernel", ["HTTPRoute app/r"])
    assert found["reason"].endswith("but neither end is in mode l7")


def test_a_consumer_s_own_route_is_for_its_clients_only(folder: Path) -> None:
    write(folder, route=ROUTE, consumer=CONSUMER)
    by_client = {pod: simulated(folder, pod, "http://web.app/") for pod in ("app/a", "shop/a")}
    assert {pod: found["routes"] for pod, found in by_client.items()} == {
        "app/a": ["HTTPRoute app/r"],
        "shop/a": ["HTTPRoute shop/mine"],
    }
    assert by_client["shop/a"]["waypoint"]["clients"] == "namespace shop"


def test_shares_in_the_kernel(folder: Path) -> None:
    found = simulated(write(folder, tcp=TCP), "shop/a", "tcp://web.app:5432")
    assert found["backends"] == [
        {"backend": "10.1.0.1:5432", "share": pytest.approx(0.375)},
        {"backend": "10.1.0.2:5432", "share": pytest.approx(0.375)},
        {"backend": "refused", "share": pytest.approx(0.25)},
    ]
    assert found["services"] == [{"service": "app/web:5432", "share": 0.75}, {"service": "app/gone:1", "share": 0.25}]


def test_no_endpoint_is_refused(folder: Path) -> None:
    write(folder, mesh=MESH.replace("kubernetes.io/service-name: web", "kubernetes.io/service-name: other"))
    found = simulated(folder, "shop/a", "tcp://web.app:5432")
    assert found["backends"] == [{"backend": "refused", "share": 1.0}]
    assert found["services"] == [{"service": "app/web:5432", "share": 1.0}]
    assert "Service app/web has no EndpointSlice in the manifests: nothing is behind it here" in found["notes"]


def test_a_backend_without_slices_is_told_of(folder: Path) -> None:
    other = "apiVersion: v1\nkind: Service\nmetadata: {name: v2, namespace: app}\nspec: {ports: [{port: 80}]}\n"
    write(folder, other=other, route=ROUTE.replace("backendRefs: [{name: web,", "backendRefs: [{name: v2,"))
    found = simulated(folder, "app/a", "http://web/")
    assert found["waypoint"]["shares"][0]["status"] == 503
    assert "Service app/v2 has no EndpointSlice in the manifests: nothing is behind it here" in found["notes"]


def test_the_node_and_the_zone_choose_endpoints(folder: Path) -> None:
    hints = "{addresses: [10.1.0.1], hints: {forZones: [{name: east}]}}"
    mesh = MESH.replace("{addresses: [10.1.0.1]}", hints).replace(
        "10.1.0.2]", "10.1.0.2], hints: {forZones: [{name: w}]}"
    )
    write(folder, mesh=mesh)
    found = simulated(folder, "shop/a", "tcp://web.app:5432", "--zone", "east")
    assert [item["backend"] for item in found["backends"]] == ["10.1.0.1:5432"]
    assert len(simulated(folder, "shop/a", "tcp://web.app:5432")["backends"]) == 2


def test_the_node_is_the_pod_s(folder: Path) -> None:
    mesh = MESH.replace("spec: {ports", "spec: {internalTrafficPolicy: Local, ports").replace(
        "{addresses: [10.1.0.1]}", "{addresses: [10.1.0.1], nodeName: east-1}"
    )
    write(folder, mesh=mesh, special=SPECIAL)
    found = simulated(folder, "plain/own", "tcp://web.app:5432")
    assert [item["backend"] for item in found["backends"]] == ["10.1.0.1:5432"]


def test_what_is_assumed_is_said(folder: Path) -> None:
    assert simulated(write(folder, route=ROUTE, bad="kind: ["), "app/a", "http://web/")["notes"] == [
        "Pod app/a is not in the manifests: one without labels is assumed",
        "Service app/web has no cluster IP yet: 198.18.0.1 is assumed",
        "1 objects or documents cannot be used: see weft lint",
    ]


@pytest.mark.parametrize(("url", "note"), [("https://web:80/", "TLS handshake"), ("tcp://web:80", "expects HTTP")])
def test_what_is_not_clear_http_is_warned_of(folder: Path, url: str, note: str) -> None:
    assert any(note in text for text in simulated(write(folder, route=ROUTE), "app/a", url)["notes"])


def test_a_pod_that_does_not_say_why_it_is_not_enrolled(folder: Path) -> None:
    system = "apiVersion: v1\nkind: Namespace\nmetadata: {name: weft-system, labels: {weft.dev/mode: l7}}\n"
    found = simulated(write(folder, system=system), "weft-system/a", "http://web.app/")
    assert found["path"] == "none"
    assert "Pod weft-system/a: not enrolled: weft does not enrol its own pods" in found["notes"]


def test_a_pod_that_has_ended_asks_nothing(folder: Path) -> None:
    done = weft("simulate", "-f", write(folder, special=SPECIAL), "--from", "app/done", "GET", "http://web")
    assert done.exit_code == 2


def test_affinity_is_told(folder: Path) -> None:
    write(folder, mesh=MESH.replace("spec: {ports", "spec: {sessionAffinity: ClientIP, ports"))
    assert simulated(folder, "shop/a", "tcp://web.app:5432")["affinitySeconds"] == 10800
    text = weft("simulate", "-f", folder, "--from", "shop/a", "GET", "tcp://web.app:5432").stdout
    assert "affinity  a client keeps its backend for 10800 s\n" in text
