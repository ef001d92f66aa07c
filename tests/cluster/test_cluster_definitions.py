"""The Gateway API's definitions upgraded and back under load, with Routes stored by the other release.

The API server hides the fields that the installed schema does not have, and keeps what is stored until somebody writes
the object. So a session has its own name or a generated one, and requests go on all the time.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import builds
import cluster
import installed
import load
import pytest
import shop
from cluster import NODES
from shop import SPACE, kubectl, nothing_is_lost
from weft_processes import until

pytestmark = pytest.mark.cluster

UP = [sys.executable, cluster.__file__, "up", "--channel", "experimental", "--gateway-api", "1.6"]
# Forbids older definitions where newer ones are.
POLICIES = ("validatingadmissionpolicybinding", "validatingadmissionpolicy")
ASK = "import sys, urllib.request as u; print(u.urlopen(f'http://{sys.argv[1]}/').headers['Set-Cookie'])"
GENERATED = "weft-session-"


@pytest.fixture(scope="module")
def running_shop() -> Iterator[None]:
    """With definitions of v1.6."""
    with shop.running(UP):
        yield


def define(version: str) -> None:
    """Put the definitions of a release in the place of those that are there."""
    folder = builds.gateway_api(version) / "experimental"
    way = "--kustomize" if (folder / "kustomization.yaml").exists() else "--filename"

    def applied() -> bool:
        for kind in POLICIES:
            cluster.kubectl("delete", kind, "safe-upgrades.gateway.networking.k8s.io", "--ignore-not-found")
        apply = ("apply", "--server-side", "--force-conflicts", way, str(folder))
        try:
            cluster.kubectl(*apply)
        except subprocess.CalledProcessError:
            return False  # the policy is still heeded for a moment
        return True

    until(f"definitions of v{version} are applied", applied)


def keep_sessions(route: str, how: dict[str, Any]) -> None:
    """Give a Route's only rule sessions."""
    rule = {"backendRefs": [{"name": route, "port": 80}], "sessionPersistence": how}
    kubectl("patch", "httproute", route, "--type=merge", f"--patch={json.dumps({'spec': {'rules': [rule]}})}")


def cookies(clients: list[load.Client], service: str) -> set[str]:
    """The names of the cookies that the waypoints of all nodes give to new clients of a Service."""
    command = (load.PYTHON, "-c", ASK, f"{service}.{SPACE}")
    return {client.kubectl("exec", client.name, "--", *command).partition("=")[0].strip() for client in clients}


def is_status_current() -> bool:
    """Whether the controller has spoken of the Route's newest generation."""
    route = json.loads(kubectl("get", "httproute", "web", "--output=json"))
    conditions = route["status"]["parents"][0]["conditions"]
    return {item["observedGeneration"] for item in conditions} == {route["metadata"]["generation"]}


def test_definitions_are_upgraded_and_back(running_shop: None) -> None:
    clients = [load.every_kind(SPACE, node.name) for node in NODES]

    def generated(service: str) -> bool:
        (name,) = names if len(names := cookies(clients, service)) == 1 else ("",)
        return name.startswith(GENERATED)

    keep_sessions("web", {"sessionName": "seat", "absoluteTimeout": "1h"})
    with load.running(*clients) as seen:
        until("the name of v1.6 is given", lambda: cookies(clients, "web") == {"seat"})
        until("the Route's status is of its generation", is_status_current)
        before = kubectl("get", "httproute", "web", "--output=jsonpath={.status}")
        define("1.7")
        until("v1.7 hides it", lambda: generated("web"))
        keep_sessions("soft", {"cookie": {"name": "bench"}})
        until("the name of v1.7 is given", lambda: cookies(clients, "soft") == {"bench"})
        define("1.6")
        until("v1.6 shows it again", lambda: cookies(clients, "web") == {"seat"})
        until("v1.6 hides the other", lambda: generated("soft"))
        define("1.7")
        until("v1.7 shows it again", lambda: cookies(clients, "soft") == {"bench"})
        assert kubectl("get", "httproute", "web", "--output=jsonpath={.status}") == before
        for node in NODES:
            assert installed.status(node.name)["ready"]
    for found in seen.values():
        nothing_is_lost(found)
