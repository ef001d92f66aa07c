"""A node of both IP families: clients of either have a Service's Routes, by the waypoint's address of their family."""

import json
from pathlib import Path

import pytest

from agent.cli.lab_waypoint import replace
from agent.lab.weft import WAYPOINTS, waypoint_addresses, waypoint_pod, waypoints
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("dual")]

CLIENT = "shop/client"
REFUSED = 7  # curl's
MESH = Path(__file__).with_name("dual_stack.yaml")
GOES_ON_IN_THE_KERNEL = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {weft.dev/on-waypoint-loss: kernel}}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""

Answer = tuple[int, bool, str]
"""The exit code of curl, whether the Route applied, and who connected to the server: a waypoint by its name, which uses
endpoints of either family, or another address."""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Service web, of both families, with a Route; a client in mode l7."""
    lab = make_lab("dual", [MESH], agent=True)
    until_ready(lab)
    return lab


def until_ready(mesh: LabHandle) -> None:
    settle(mesh, lambda status: [item["state"] for item in status["waypoint"]["listeners"]] == ["ready"])


def ask(mesh: LabHandle, option: str, check: bool = True) -> Answer:
    """What a client gets that connects by IPv4 (`-4`) or IPv6 (`-6`)."""
    done = mesh.exec(CLIENT, "curl", option, "-sSi", "-m", "5", "http://web.shop/", check=check)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    peer = json.loads(body)["peer"].rpartition(":")[0].strip("[]") if body else ""
    name = next((name for name, addresses in WAYPOINTS.items() if peer in addresses), peer)
    return done.returncode, "x-way: waypoint" in head.lower(), name


def answers(mesh: LabHandle) -> list[Answer]:
    return [ask(mesh, "-4"), ask(mesh, "-6")]


def present(mesh: LabHandle) -> str:
    """The name of the only waypoint that there is."""
    (name,) = waypoints(mesh.store.load())
    return name


def by_waypoint(mesh: LabHandle) -> list[Answer]:
    """What clients of IPv4 and of IPv6 get that are sent to the waypoint."""
    return [(0, True, present(mesh))] * 2


def test_clients_of_both_families_have_the_route(mesh: LabHandle) -> None:
    assert answers(mesh) == by_waypoint(mesh)
    assert mesh.status()["waypoint"]["addresses"] == [*waypoint_addresses(mesh.paths, present(mesh))]


def test_both_addresses_are_guarded_and_dialled_by_nobody(mesh: LabHandle) -> None:
    both = list(waypoint_addresses(mesh.paths, present(mesh)))
    mesh.wait_for("both are guarded", lambda: mesh.status()["waypoint"]["guards"] == dict.fromkeys(both, "attached"))
    for address in both:
        dial = f"import socket\ntry: socket.create_connection({(address, 20000)}, 5)\nexcept OSError as e: print(e)"
        assert "Operation not permitted" in mesh.python(CLIENT, dial)


def test_both_families_follow_when_the_waypoint_is_replaced(mesh: LabHandle) -> None:
    before = present(mesh)
    assert replace(mesh.paths, 20.0) == 0
    assert present(mesh) != before
    assert answers(mesh) == by_waypoint(mesh)


def test_an_agent_that_starts_again_leaves_both_as_they_are(mesh: LabHandle) -> None:
    mesh.agent_stop(kill=True)
    assert answers(mesh) == by_waypoint(mesh)
    mesh.agent_start()
    until_ready(mesh)
    assert answers(mesh) == by_waypoint(mesh)


def test_a_family_that_does_not_work_keeps_nobody_of_the_other_from_the_route(mesh: LabHandle) -> None:
    """The node drops what goes to the IPv6 address of a waypoint that starts again."""
    name = present(mesh)
    manifest = json.dumps(waypoint_pod(mesh.paths, name))
    mesh.node("nft", "add table ip6 broken")
    for hook in ("output", "forward"):
        mesh.node("nft", f"add chain ip6 broken {hook} {{ type filter hook {hook} priority 0; }}")
        mesh.node("nft", f"add rule ip6 broken {hook} ip6 daddr {WAYPOINTS[name].ipv6} drop")
    mesh.delete(manifest)
    mesh.wait_for("the waypoint is lost", lambda: mesh.status()["waypoint"]["lost"], patience=40)
    mesh.apply(manifest)
    mesh.wait_for("IPv4 has the Route", lambda: ask(mesh, "-4", check=False)[1], patience=40)
    assert [item["state"] for item in mesh.status()["waypoint"]["listeners"]] == ["probing"]
    assert ask(mesh, "-6", check=False)[0] == REFUSED, "the on-loss policy"
    mesh.node("nft", "delete table ip6 broken")
    until_ready(mesh)
    assert answers(mesh) == by_waypoint(mesh)


def test_a_family_that_the_waypoint_has_no_address_of_has_the_on_loss_policy(mesh: LabHandle) -> None:
    """The waypoint that takes over has an IPv4 address only."""
    old = json.dumps(waypoint_pod(mesh.paths, present(mesh)))
    (name,) = WAYPOINTS.keys() - {present(mesh)}
    pod = waypoint_pod(mesh.paths, name)
    command = pod["spec"]["containers"][0]["command"]
    at = command.index("--address") + 1
    only = command[at] = command[at].partition(",")[0]
    mesh.apply(json.dumps(pod))
    mesh.wait_for("it takes over", lambda: mesh.status()["waypoint"]["addresses"] == [only])
    mesh.delete(old)
    until_ready(mesh)
    assert (ask(mesh, "-4"), ask(mesh, "-6", check=False)[0]) == ((0, True, name), REFUSED)
    mesh.apply(GOES_ON_IN_THE_KERNEL)
    (client,) = [pod["addresses"][1] for pod in mesh.status()["pods"] if pod["pod"].startswith(f"{CLIENT}-")]
    mesh.wait_for("IPv6 goes on", lambda: ask(mesh, "-6", check=False) == (0, False, client))
    assert ask(mesh, "-4") == (0, True, name)
