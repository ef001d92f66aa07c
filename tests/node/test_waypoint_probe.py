"""The kubelet's probe of a waypoint, with a real Envoy: before it has its configuration, while it serves and drains."""

import subprocess
import sys
import time

import pytest

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.waypoint import admin
from agent.waypoint.process import admin_socket, envoy_command, prepare
from support.waypoint.fixtures import WAYPOINT, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import V1, any_path, rule, to

pytestmark = pytest.mark.node

AS_THE_MANIFESTS_ASK = ("/ready", "DRAINING")


def probe(node: WaypointNode, node_id: str, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-BIm", "agent.probe", str(admin_socket(node.folder, node_id)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def waiting(node: WaypointNode) -> None:
    """An Envoy whose agent is away."""
    envoy = Envoy(time.monotonic_ns(), "waiting", Addresses(WAYPOINT))
    config = prepare(node.folder / "xds.sock", envoy, node.limits)
    config.write_text(config.read_text().replace(str(node.folder / "xds.sock"), str(node.folder / "nobody.sock")))
    node.spawn(*envoy_command(config, 1))
    wait_for("its admin interface answers", lambda: probe(node, "waiting", "/server_info")[0] == 0)


async def test_it_is_ready_from_its_configuration_on_to_its_end() -> None:
    with waypoint_node() as node:
        node.serve(rule(any_path(), to(V1)))
        wait_for("it is ready", lambda: probe(node, "blue", *AS_THE_MANIFESTS_ASK) == (0, ""))
        await admin.fail_healthcheck(admin_socket(node.folder, "blue"))
        assert probe(node, "blue", "/ready") == (1, "503 DRAINING\n")
        assert probe(node, "blue", *AS_THE_MANIFESTS_ASK) == (0, "")
        await admin.pass_healthcheck(admin_socket(node.folder, "blue"))
        assert probe(node, "blue", "/ready") == (0, "")
        waiting(node)
        code, text = probe(node, "waiting", *AS_THE_MANIFESTS_ASK)
        assert (code, text) in [(1, "503 PRE_INITIALIZING\n"), (1, "503 INITIALIZING\n")]
        node.kill_envoy()
        assert probe(node, "blue", *AS_THE_MANIFESTS_ASK)[0] == 1
