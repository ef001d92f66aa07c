"""`weft lint`: everything that is wrong is told with its place, and good manifests with nothing."""

import json
from pathlib import Path

import pytest

from agent.explain.lint import Finding, findings
from agent.explain.manifests import read
from agent.kube.directory_source import SourceError
from support.explain import MESH, ROUTE, weft, write


def found(folder: Path, **files: str) -> list[Finding]:
    return findings(read(write(folder, **files)))


def test_good_manifests_as_people_write_them_have_no_findings(tmp_path: Path) -> None:
    assert found(tmp_path, mesh=MESH, route=ROUTE) == []


def test_a_broken_object_has_its_file_and_line(tmp_path: Path) -> None:
    (one,) = found(tmp_path, bad="\n---\n".join([ROUTE.replace("port: 80}]}]", "port: 0}]}]"), ""]), mesh=MESH)
    assert (one.kind, one.object, one.field) == ("problem", "HTTPRoute app/r", "spec.rules[0].backendRefs[0].port")
    assert one.location == f"{tmp_path}/bad.yaml:1"


def test_a_route_is_told_what_its_status_would_say(tmp_path: Path) -> None:
    route = ROUTE.replace("name: web, port: 80}]}]", "name: gone, port: 80}]}, {matches: [{method: BREW}]}]")
    found_ = found(tmp_path, mesh=MESH, route="# why\n---\n" + route)
    assert [(one.reason, one.field) for one in found_] == [
        ("PartiallyInvalid=True UnsupportedValue", "spec.parentRefs[0]"),
        ("ResolvedRefs=False BackendNotFound", "spec.parentRefs[0]"),
    ]
    assert {one.location for one in found_} == {f"{tmp_path}/route.yaml:2"}


def test_positions_are_those_of_the_manifest(tmp_path: Path) -> None:
    route = ROUTE.replace(
        '[{group: "", kind: Service, name: web, port: 80}]',
        '[{name: gateway}, {group: "", kind: Service, name: web, port: 80}, {group: "", kind: Service, name: gone}]',
    )
    (one,) = found(tmp_path, mesh=MESH, route=route)
    assert (one.field, one.reason) == ("spec.parentRefs[2]", "Accepted=False NoMatchingParent")


def test_a_notice_has_the_place_of_its_object(tmp_path: Path) -> None:
    mesh = MESH.replace("{name: web, namespace: app}", "{name: web, namespace: app, labels: {weft.dev/mode: L7}}")
    (one,) = found(tmp_path, mesh=mesh)
    assert (one.kind, one.object, one.field) == ("warning", "Service app/web", "metadata.labels[weft.dev/mode]")
    assert one.location == f"{tmp_path}/mesh.yaml:13"


def test_a_notice_without_a_field_is_all_message(tmp_path: Path) -> None:
    (one,) = found(tmp_path, mesh=MESH.replace("addressType: IPv4", "addressType: FQDN"))
    assert (one.field, one.message) == ("", "EndpointSlices of addressType FQDN are not used")


def test_a_node_s_name_and_zone_are_not_missed(tmp_path: Path) -> None:
    mesh = MESH.replace("spec: {ports", "spec: {internalTrafficPolicy: Local, ports")
    assert found(tmp_path, mesh=mesh.replace("10.1.0.1]", "10.1.0.1], hints: {forZones: [{name: a}]}")) == []


def test_findings_are_in_the_order_of_lines(tmp_path: Path) -> None:
    broken = "---\n".join(f"{{apiVersion: v1, kind: Service, metadata: {{name: '{n} '}}}}\n" for n in range(12))
    lines = [int(one.location.rpartition(":")[2]) for one in found(tmp_path, bad=broken)]
    assert lines == sorted(lines)
    assert len(lines) == 12


def test_what_is_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a directory"):
        read(tmp_path / "none")


def test_the_command_exits_with_0_when_there_is_nothing(tmp_path: Path) -> None:
    done = weft("lint", write(tmp_path, mesh=MESH, route=ROUTE))
    assert (done.exit_code, done.stdout) == (0, "0 findings\n")


def test_the_command_exits_with_1_and_prints_lines(tmp_path: Path) -> None:
    done = weft("lint", write(tmp_path, mesh=MESH, route=ROUTE.replace("name: web, port: 80}]\n", "name: gone}]\n")))
    assert done.exit_code == 1
    line, count = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path}/route.yaml:1: HTTPRoute app/r: spec.parentRefs[0]: Accepted=False ")
    assert count == "1 finding"


def test_the_command_speaks_json(tmp_path: Path) -> None:
    done = weft("lint", write(tmp_path, bad="kind: [\n"), "-o", "json")
    assert done.exit_code == 1
    (one,) = json.loads(done.stdout)["findings"]
    assert one["kind"] == "problem"
    assert one["location"] == f"{tmp_path}/bad.yaml:1"


def test_the_command_exits_with_2_without_a_directory(tmp_path: Path) -> None:
    done = weft("lint", tmp_path / "none")
    assert done.exit_code == 2


def test_a_list_s_items_are_judged_each(tmp_path: Path) -> None:
    items = "".join(
        f"- {{apiVersion: v1, kind: Service, metadata: {{name: s{n}}}, spec: {{ports: x}}}}\n" for n in (0, 1)
    )
    folder = write(tmp_path / "m", list=f"apiVersion: v1\nkind: List\nitems:\n{items}")
    found = json.loads(weft("lint", folder, "-o", "json").stdout)
    assert [(item["location"], item["field"]) for item in found["findings"]] == [
        (f"{folder}/list.yaml:1 item {number}", "spec.ports") for number in (0, 1)
    ]


def test_kinds_that_are_not_read_are_named_and_no_finding(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", other="{apiVersion: apps/v1, kind: DeploymentList, items: [{}, {}]}\n")
    done = weft("lint", folder)
    assert (done.exit_code, done.stdout) == (
        0,
        "ignored, weft does not use these kinds: apps/v1 Deployment (2)\n0 findings\n",
    )
    assert json.loads(weft("lint", folder, "-o", "json").stdout)["ignored"] == {"apps/v1 Deployment": 2}
