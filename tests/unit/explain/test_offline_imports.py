"""ServiceImports in manifests: what lint, simulate and diff say of them."""

import json
from pathlib import Path

from support.explain import MESH, ROUTE, weft, write

IMPORT = """
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: web, namespace: app}
spec: {type: ClusterSetIP, ips: [10.112.0.1], ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: imported-web, namespace: app, labels: {multicluster.kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.2.0.1]}]
"""
OF_IMPORT = ROUTE.replace('group: "", kind: Service', "group: multicluster.x-k8s.io, kind: ServiceImport")
FAR = "http://web.app.svc.clusterset.local/"


def split(local: int, imported: int) -> str:
    """A Route of the import that divides between the Service and the import."""
    backend = f"{{group: multicluster.x-k8s.io, kind: ServiceImport, name: web, port: 80, weight: {imported}}}"
    return OF_IMPORT.replace(
        "[{backendRefs: [{name: web, port: 80}]}]",
        f"[{{backendRefs: [{{name: web, port: 80, weight: {local}}}, {backend}]}}]",
    )


def test_lint_has_nothing_to_say_of_a_good_one(tmp_path: Path) -> None:
    folder = write(tmp_path, mesh=MESH, imported=IMPORT, route=split(1, 1))
    assert weft("lint", folder).exit_code == 0


def test_lint_says_what_a_route_would_be_told(tmp_path: Path) -> None:
    found = weft("lint", write(tmp_path, mesh=MESH, route=split(1, 1))).stdout
    assert "Accepted=False NoMatchingParent: ServiceImport app/web does not exist" in found
    assert "BackendNotFound: spec.rules[0].backendRefs[1]: ServiceImport app/web does not exist" in found


def test_lint_reads_the_schema(tmp_path: Path) -> None:
    bad = IMPORT.replace("10.112.0.1", "here").replace("kind: ServiceImport", "kind: ServiceImport # bad")
    assert "spec.ips[0]: 'here' is not an IP address" in weft("lint", write(tmp_path, mesh=MESH, imported=bad)).stdout
    bad = IMPORT.replace("ClusterSetIP", "Local")
    assert "spec.type: 'Local' is neither" in weft("lint", write(tmp_path, mesh=MESH, imported=bad)).stdout


def test_simulate_divides_by_the_route_of_the_import(tmp_path: Path) -> None:
    folder = write(tmp_path, mesh=MESH, imported=IMPORT, route=split(3, 1))
    found = json.loads(weft("simulate", "-f", folder, "--from", "app/x", "GET", FAR, "-o", "json").stdout)
    assert (found["path"], found["destination"]["service"]) == ("waypoint", "app/web.clusterset")
    shares = {item["backend"]: (item["share"], item["endpoints"]) for item in found["waypoint"]["shares"]}
    assert shares == {
        "app/web:80/http": (0.75, ["10.1.0.1:8080", "10.1.0.2:8080"]),
        "app/web.clusterset:80/http": (0.25, ["10.2.0.1:8080"]),
    }


def test_simulate_says_that_nothing_is_behind_it(tmp_path: Path) -> None:
    alone = IMPORT.partition("---")[0]
    folder = write(tmp_path, mesh=MESH, imported=alone, route=split(0, 1))
    found = json.loads(weft("simulate", "-f", folder, "--from", "app/x", "GET", FAR, "-o", "json").stdout)
    assert "ServiceImport app/web has no EndpointSlice in the manifests: nothing is behind it here" in (found["notes"])


def test_diff_tells_a_service_and_its_import_apart(tmp_path: Path) -> None:
    old = write(tmp_path / "old", mesh=MESH, imported=IMPORT, route=split(3, 1))
    new = write(tmp_path / "new", mesh=MESH, imported=IMPORT, route=split(1, 1))
    found = weft("diff", old, new).stdout
    assert "app/web.clusterset" in found
    assert "app/web:80/http 1, app/web.clusterset:80/http 1" in found
