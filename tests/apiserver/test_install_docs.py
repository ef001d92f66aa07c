"""What docs/install.md tells its readers to apply: a real API server takes it, and it names what there is."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from agent.waypoint.ports import FIRST_PORT, LAST_PORT
from support.apiserver.manifests import FOLDER, apply_all
from support.apiserver.objects import namespace
from support.apiserver.process import Cluster

DOCUMENT = FOLDER.parent / "docs/install.md"


def policies() -> list[dict[str, Any]]:
    """The recipe of NetworkPolicies."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    found = [document for block in blocks for document in yaml.safe_load_all(block)]
    return [document for document in found if document.get("kind") == "NetworkPolicy"]


def test_the_policies_are_taken(make_cluster: Callable[[], Cluster]) -> None:
    cluster = make_cluster()
    for policy in policies():
        cluster.request("POST", "/api/v1/namespaces", namespace(policy["metadata"]["namespace"]))
    apply_all(cluster, policies())
    assert len(policies()) == 2


@pytest.mark.parametrize("direction", ["to", "from"])
def test_the_policies_are_about_waypoints(direction: str) -> None:
    (waypoint,) = yaml.safe_load_all((FOLDER / "base/waypoint.yaml").read_text())
    (policy,) = [found for found in policies() if found["metadata"]["name"] == f"{direction}-waypoints"]
    (rule,) = policy["spec"]["egress" if direction == "to" else "ingress"]
    (peer,) = rule[direction]
    assert peer["podSelector"] == waypoint["spec"]["selector"]
    space = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert space == waypoint["metadata"]["namespace"]
    if direction == "to":
        assert rule["ports"] == [{"protocol": "TCP", "port": FIRST_PORT, "endPort": LAST_PORT}]
