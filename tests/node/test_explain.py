"""`weft explain` on a real node: what it says is what happens, and why."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.node.explain import explain
from support.node.l4_route import TCP, l4_route
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import CLIENT, OUTSIDER, settle

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> Iterator[LabHandle]:
    """The pods of the HTTP tests in mode l4, with a TCPRoute and an HTTPRoute."""
    lab = make_lab("explain", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.label("Namespace", "", "app", "weft.dev/mode=l4")
    lab.apply(l4_route("TCPRoute", 9090, ("v1", 90), ("nobody", 10)))
    lab.apply("""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: v1, port: 80}]
  rules: [{backendRefs: [{name: v2, port: 80}]}]
""")
    settle(lab, lambda status: len(status["routes"]) == 2)
    return lab


def test_a_split_names_the_route_its_conditions_and_everybody_s_share(mesh: LabHandle) -> None:
    found = explain(mesh, CLIENT, "echo:9090")
    assert found["service"] == "app/echo"
    assert found["client"]["mode"] == "l4"
    assert found["client"]["modeReason"] == "label weft.dev/mode=l4 of Namespace app"
    (maker,) = found["sources"]
    assert maker["object"] == "TCPRoute app/r"
    reasons = {item["type"]: item["reason"] for item in maker["parents"][0]["conditions"]}
    assert reasons == {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
    first, second = found["outcomes"]
    assert (first["reason"], round(first["share"], 6)) == ("forwarded", 0.9)
    assert first["pod"].startswith("app/v1-")
    assert (second["reason"], round(second["share"], 6)) == ("share_rejected", 0.1)
    observed = json.loads(mesh.python(CLIENT, TCP.format(count=300, port=9090)))
    assert set(observed) == {"v1", "ConnectionRefusedError"}
    mesh.wait_for("it was told", lambda: len(explain(mesh, CLIENT, "echo:9090")["events"]) == 5)
    seen = explain(mesh, CLIENT, "echo:9090")["events"]
    assert {event["reason"] for event in seen} <= {"forwarded", "share_rejected"}
    assert explain(mesh, CLIENT, "echo:9091", "--udp")["events"] == []


def test_the_waypoint_is_said_for_clients_in_mode_l7_only(mesh: LabHandle) -> None:
    (outcome,) = explain(mesh, CLIENT, "v1.app:80")["outcomes"]
    assert outcome["reason"] == "forwarded"
    found = explain(mesh, "other/client", "v1.app.svc.cluster.local:80")
    assert found["client"]["mode"] == "l7"
    assert found["frontend"]["action"] == "waypoint"
    assert found["sources"][0]["object"] == "HTTPRoute app/web"
    (outcome,) = found["outcomes"]
    assert outcome["reason"] == "to_waypoint"
    assert outcome["pod"] == "weft-system/weft-waypoint"


def test_what_the_mesh_leaves_alone_and_why(mesh: LabHandle) -> None:
    found = explain(mesh, OUTSIDER, "echo.app:9090")
    assert found["client"]["modeReason"] == "neither the Pod nor Namespace outside has the label weft.dev/mode"
    assert [item["reason"] for item in found["outcomes"]] == ["not_enrolled"]
    direct = explain(mesh, CLIENT, "10.244.0.99:80")
    assert (direct["service"], direct["frontend"], direct["sources"]) == (None, None, [])
    assert [item["reason"] for item in direct["outcomes"]] == ["no_frontend"]
    empty = explain(mesh, CLIENT, "empty:80")
    assert [item["reason"] for item in empty["outcomes"]] == ["no_backend"]
    udp = explain(mesh, CLIENT, "echo:9091", "--udp")
    assert {item["share"] for item in udp["outcomes"]} == {0.5}
    waypoint = explain(mesh, CLIENT, "10.244.0.2:20000")
    assert [item["reason"] for item in waypoint["outcomes"]] == ["waypoint_dialled"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("client", "echo:80"), "'client' is not NAMESPACE/POD"),
        ((CLIENT, "echo"), "'echo' is not HOST:PORT"),
        ((CLIENT, "echo:70000"), "'echo:70000' is not HOST:PORT"),
        (("app/nobody", "echo:80"), "no pod app/nobody with a cgroup on node"),
        ((CLIENT, "nothing:80"), "Service app/nothing has no port 80/TCP in the mesh"),
        ((CLIENT, "echo:9090", "--udp"), "Service app/echo has no port 9090/UDP in the mesh"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(mesh: LabHandle, argv: tuple[str, ...], message: str) -> None:
    command = (sys.executable, "-m", "agent", "explain", "--state", str(mesh.paths.state), *argv)
    done = mesh.node(*command, check=False)
    assert done.returncode == 1
    assert message in done.stderr


def test_it_reads_well(mesh: LabHandle) -> None:
    mesh.python(CLIENT, TCP.format(count=5, port=9090))
    mesh.wait_for("it was told", lambda: len(explain(mesh, CLIENT, "echo:9090")["events"]) == 5)
    command = (sys.executable, "-m", "agent", "explain", "--state", str(mesh.paths.state), CLIENT, "echo:9090")
    lines = mesh.node(*command).stdout.splitlines()
    assert lines[0].startswith("app/client-")
    assert lines[1] == "  pod        mode l4: label weft.dev/mode=l4 of Namespace app"
    assert "  source     TCPRoute app/r" in lines
    (refused,) = [line for line in lines if line.startswith("    10.00%")]
    assert refused.startswith("    10.00%   this is the share of an invalid backendRef")
    assert sum(line.startswith("  event      20") for line in lines) == 5


def test_the_tables_are_as_the_agent_wants_them(mesh: LabHandle) -> None:
    command = (sys.executable, "-m", "agent", "tables", "--state", str(mesh.paths.state))
    found = json.loads(mesh.node(*command, "-o", "json").stdout)
    assert all(row["desired"] for row in (*found["pods"], *found["frontends"]))
    (split,) = [
        row for row in found["frontends"] if row["frontend"].endswith(":9090/TCP") and len(row["backends"]) == 2
    ]
    assert [round(item["share"], 6) for item in split["backends"]] == [0.9, 0.1]
    assert split["backends"][1]["backend"] == "refused"
    assert "90.0%, refused 10.0%" in mesh.node(*command).stdout


def test_the_client_allow_list_is_among_the_tables(mesh: LabHandle) -> None:
    """It has pods of the mesh, and addresses of the agent's own, which are no pod's."""
    pods = mesh.status()["pods"]
    known = {address for pod in pods for address in pod["addresses"]}
    enrolled = {address for pod in pods for address in pod["addresses"] if pod["mode"] != "none"}
    command = (sys.executable, "-m", "agent", "tables", "--state", str(mesh.paths.state))
    clients = set(json.loads(mesh.node(*command, "-o", "json").stdout)["clients"])
    assert clients & known == enrolled
    assert enrolled not in (set(), known)
    assert clients <= set(mesh.node(*command).stdout.split())
