"""`weft lint` names fields that nobody reads: unknown to weft, or to the definitions that are installed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.explain.fields import Definitions, ignored_fields
from agent.explain.lint import Finding, findings
from agent.explain.manifests import read
from agent.kube.directory_source import parsed
from support.explain import MESH, ROUTE, weft, write

END = "name: web, port: 80}]}]"
WRONG = "name: web, port: 80, wieght: 3}]}]"
SESSION = "spec.rules[0].sessionPersistence"
SESSION_OF_1_6 = "name: web, port: 80}], sessionPersistence: {sessionName: seat}}]"
# A definition of HTTPRoutes that has sessions in the shape of v1.7.
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations:
    gateway.networking.k8s.io/bundle-version: v1.7.0
    gateway.networking.k8s.io/channel: experimental
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            properties:
              parentRefs: {items: {x-kubernetes-preserve-unknown-fields: true}}
              rules:
                items:
                  properties:
                    backendRefs: {items: {properties: {name: {type: string}, port: {type: integer}}}}
                    sessionPersistence:
                      properties:
                        type: {type: string}
                        cookie: {properties: {name: {type: string}, path: {type: string}}}
"""


def found(folder: Path, **files: str) -> list[Finding]:
    """Of fields alone."""
    write(folder, **files)
    return [one for one in findings(read(folder), parsed(folder)) if one.kind == "field"]


def rule(**more: Any) -> dict[str, Any]:
    """An HTTPRoute with one rule."""
    spec = {"rules": [{"backendRefs": [{"name": "web", "port": 80}], **more}]}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}, "spec": spec}


def fields(document: Any, definitions: Definitions | None = None) -> list[str]:
    return [field for field, _ in ignored_fields(document, definitions or Definitions())]


def test_good_manifests_have_no_unknown_fields(tmp_path: Path) -> None:
    assert found(tmp_path, mesh=MESH, route=ROUTE) == []


def test_a_misspelt_field_has_its_place_and_path(tmp_path: Path) -> None:
    (one,) = found(tmp_path, mesh=MESH, route="# why\n---\n" + ROUTE.replace(END, WRONG))
    assert (one.object, one.field) == ("HTTPRoute app/r", "spec.rules[0].backendRefs[0].wieght")
    assert (one.location, one.message) == (f"{tmp_path}/route.yaml:2", "is unknown: it has no effect")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (rule(retry={"attempt": 1}), ["spec.rules[0].retry.attempt"]),
        (rule(filters=[{"type": "CORS", "cors": {"origins": []}}]), ["spec.rules[0].filters[0].cors.origins"]),
        (rule(filters=[{"type": "ExtensionRef", "extensionRef": {"any": "thing"}}]), []),
        (rule(sessionPersistence={"sessionName": "a", "cookieConfig": {}, "idleTimeout": "1h"}), []),
        (rule(sessionPersistence={"cookie": {"name": "a", "path": "/", "lifetimeType": "Session"}}), []),
        (
            rule(sessionPersistence={"type": "Header", "header": {"name": "a", "value": "b"}}),
            [f"{SESSION}.header.value"],
        ),
        (rule() | {"spce": {}}, ["spce"]),
        (rule() | {"status": {"any": "thing"}}, []),
        ({**rule(), "spec": {"useDefaultGateways": "All", "hostname": "a"}}, ["spec.hostname"]),
        ({**rule(), "kind": "TCPRoute", "spec": {"rules": [{"matches": []}]}}, ["spec.rules[0].matches"]),
        ({**rule(x=1), "apiVersion": "example.com/v1"}, []),
        (
            {
                "apiVersion": "multicluster.x-k8s.io/v1beta1",
                "kind": "ServiceImport",
                "spec": {"ipFamilies": [], "ip": 1},
            },
            ["spec.ip"],
        ),
        ({"apiVersion": "v1", "kind": "Service", "spec": {"any": "thing"}}, []),
        ({**rule(), "spec": "nothing"}, []),
        ({**rule(), "spec": {"rules": {"a": 1}, "parentRefs": [None, 1]}}, []),
        (None, []),
        ([1], []),
    ],
)
def test_fields_outside_the_model(document: Any, expected: list[str]) -> None:
    assert fields(document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (rule(), []),
        (rule(sessionPersistence={"cookie": {"name": "a"}}), []),
        (rule(sessionPersistence={"sessionName": "a"}), [f"{SESSION}.sessionName"]),
        (rule(retry={"attempts": 1}), ["spec.rules[0].retry"]),
        ({**rule(), "spec": {"parentRefs": [{"name": "a", "any": 1}]}}, ["spec.parentRefs[0].any"]),
        ({**rule(), "apiVersion": "gateway.networking.k8s.io/v1beta1"}, []),
    ],
)
def test_fields_outside_the_installed_definition(document: Any, expected: list[str]) -> None:
    assert fields(document, Definitions.of([yaml.safe_load(DEFINITION)])) == expected


def test_a_definition_among_the_manifests_counts(tmp_path: Path) -> None:
    route = ROUTE.replace(END, SESSION_OF_1_6)
    (one,) = found(tmp_path, mesh=MESH, route=route, definition=DEFINITION)
    assert one.field == f"{SESSION}.sessionName"
    assert one.message == "is not in the installed definition (v1.7.0, experimental): the API server drops it"


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_definitions_are_given_as_a_file(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "manifests"
    route = ROUTE.replace(END, SESSION_OF_1_6)
    write(folder, mesh=MESH, route=route)
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(DEFINITION)]}
    file = tmp_path / f"definitions.{form}"
    file.write_text(yaml.safe_dump(listed) if form == "yaml" else json.dumps(listed))
    done = weft("lint", folder, "--definitions", file)
    assert (done.exit_code, "sessionName: is not in the installed definition" in done.output) == (1, True)


@pytest.mark.parametrize("text", ["{", "a: [", None])
def test_definitions_that_cannot_be_read_are_an_error(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "definitions.yaml"
    if text is not None:
        file.write_text(text)
    done = weft("lint", tmp_path, "--definitions", file)
    assert (done.exit_code, "definitions" in done.output) == (2, True)


@pytest.mark.parametrize("spec", [None, 1, {"versions": 1}, {"versions": [None, {"schema": 1}]}, {"names": []}])
def test_a_definition_that_is_none_says_nothing(spec: Any) -> None:
    document = {"kind": "CustomResourceDefinition", "spec": spec}
    assert Definitions.of([document, None, "a"]).schemas == {}


def nested(depth: int, inner: Any) -> Any:
    """A value below so many lists."""
    for _ in range(depth):
        inner = [inner]
    return inner


def test_what_is_nested_without_end_is_walked_no_deeper_than_the_schema() -> None:
    document = rule(retry=nested(5_000, 1), filters=nested(5_000, {"x": 1}))
    assert fields(document) == []
    assert fields(document, Definitions.of([yaml.safe_load(DEFINITION)])) == [
        "spec.rules[0].retry",
        "spec.rules[0].filters",
    ]
