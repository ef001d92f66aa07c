"""`weft simulate` about backends whose policies refuse or admit the client."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.explain import MESH, ROUTE, simulated, weft, write
from support.policies import from_account, policy_document

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: app, labels: {app: one}}
status: {phase: Running, podIP: 10.1.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: app, labels: {app: two}}
status: {phase: Running, podIP: 10.1.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: good, namespace: app}
spec: {serviceAccountName: good}
---
apiVersion: v1
kind: Pod
metadata: {name: bad, namespace: app}
spec: {serviceAccountName: bad}
"""
MOVED = ROUTE.replace("[{backendRefs: [{name: web, port: 80}]}]", "").rstrip() + (
    """ [{filters: [{type: RequestRedirect, requestRedirect: {hostname: new}}]}]"""
)
TLS = """
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: t, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""


@pytest.fixture
def mesh(folder: Path) -> Path:
    policy = policy_document({"sources": [from_account("good")]}, selector={"matchLabels": {"app": "one"}})
    return write(folder, mesh=MESH, pods=PODS, route=ROUTE, policy=json.dumps(policy))


def share(folder: Path, pod: str, url: str = "http://web/") -> dict[str, Any]:
    (found,) = simulated(folder, pod, url)["waypoint"]["shares"]
    return dict(found)


def test_a_client_that_is_refused_gets_403_with_the_policy_as_the_reason(mesh: Path) -> None:
    refused, allowed = share(mesh, "app/bad"), share(mesh, "app/good")
    assert (refused["status"], refused["request"], refused["endpoints"]) == (403, None, [])
    assert refused["refusedBy"] == refused["policies"] == ["AuthorizationPolicy app/p"]
    assert (allowed["status"], allowed["refusedBy"]) == (None, None)
    assert allowed["endpoints"] == ["10.1.0.1:8080", "10.1.0.2:8080"]
    text = weft("simulate", "-f", mesh, "--from", "app/bad", "GET", "http://web/").stdout
    assert "403 from the waypoint, because AuthorizationPolicy app/p refuses the client\n" in text
    text = weft("simulate", "-f", mesh, "--from", "app/good", "GET", "http://web/").stdout
    assert "10.1.0.2:8080, to which AuthorizationPolicy app/p admits the client\n" in text


def test_a_client_without_an_account_is_refused(mesh: Path) -> None:
    assert share(mesh, "app/assumed")["status"] == 403


def test_a_redirect_has_no_backend_that_could_refuse(mesh: Path) -> None:
    write(mesh, route=MOVED)
    found = simulated(mesh, "app/bad", "http://web/")["waypoint"]
    assert (found["status"], found["location"]) == (302, "http://new/")


def test_a_tls_connection_that_is_refused_is_closed(mesh: Path) -> None:
    write(mesh, route=TLS)
    assert share(mesh, "app/bad", "https://web:80/")["endpoints"] == []
    assert share(mesh, "app/good", "https://web:80/")["endpoints"] == ["10.1.0.1:8080", "10.1.0.2:8080"]
    text = weft("simulate", "-f", mesh, "--from", "app/bad", "GET", "https://web:80/").stdout
    assert "closed, because AuthorizationPolicy app/p refuses the client\n" in text
