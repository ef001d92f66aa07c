"""What is there for kustomize, beside what the chart is compared with."""

import os
import re
from pathlib import Path
from typing import Any

from agent.waypoint.ports import FIRST_PORT, LAST_PORT
from support.manifests import DAEMONSET, Objects, arguments, kustomized, overlay


def test_the_overlay_of_the_documentation(tmp_path: Path) -> None:
    text = (DAEMONSET.parent / "docs/install.md").read_text()
    found = re.search(r"^```yaml\n(# weft/kustomization.yaml\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "daemonset").symlink_to(DAEMONSET)
    (tmp_path / "weft").mkdir()
    (tmp_path / "weft/kustomization.yaml").write_text(found[1])
    made = kustomized(tmp_path / "weft")
    assert "PodMonitor weft" in made
    assert "--kubepods=/sys/fs/cgroup/kubepods.slice" in arguments(made)["DaemonSet weft-agent"]
    images = {made[name]["spec"]["template"]["spec"]["containers"][0]["image"] for name in arguments(made)}
    assert images == {"REGISTRY/weft:0.1.0", "REGISTRY/weft-waypoint:0.1.0"}


def test_the_controller_outlives_a_drained_node() -> None:
    made = kustomized(DAEMONSET / "base")
    controller, budget = made["Deployment weft-controller"]["spec"], made["PodDisruptionBudget weft-controller"]["spec"]
    assert budget["selector"] == controller["selector"]
    assert budget["maxUnavailable"] < controller["replicas"]


CAPABILITIES: dict[str, list[str]] = {
    "agent": ["BPF", "NET_ADMIN", "PERFMON"],
    "netns": ["SYS_ADMIN", "SYS_PTRACE"],
    "envoy": [],
    "controller": [],
}


def pods_of(made: Objects) -> dict[str, Any]:
    return {name: made[name]["spec"]["template"]["spec"] for name in arguments(made)}


def capabilities(made: Objects) -> dict[str, list[str]]:
    return {
        container["name"]: sorted(container["securityContext"]["capabilities"].get("add", []))
        for pod in pods_of(made).values()
        for container in (*pod["containers"], *pod.get("initContainers", []))
    }


def test_encryption_needs_a_capability_of_the_helper_and_none_of_the_agent(tmp_path: Path) -> None:
    component = os.path.relpath(DAEMONSET / "components/encryption", tmp_path)
    made = kustomized(overlay(tmp_path, components=[component]))
    assert capabilities(made) == CAPABILITIES | {"netns": ["NET_RAW", "SYS_ADMIN", "SYS_PTRACE"]}


def test_certificates_need_no_capability_and_nothing_of_the_agent(tmp_path: Path) -> None:
    component = os.path.relpath(DAEMONSET / "components/certificates", tmp_path)
    base, made = kustomized(DAEMONSET / "base"), kustomized(overlay(tmp_path, components=[component]))
    assert capabilities(made) == CAPABILITIES
    changed = {name for name, item in base.items() if made[name] != item}
    assert changed == {"Deployment weft-controller"}
    subjects = {
        subject["name"]
        for name in made.keys() - base.keys()
        for subject in made[name].get("subjects", ())
        if "weft-trust-bundle" not in name
    }
    assert subjects == {"weft-controller"}


def test_what_each_container_may_do() -> None:
    """The agent reads what strangers write; the helper has more privileges, and nothing to read it with."""
    made = kustomized(DAEMONSET / "base")
    pods = pods_of(made)
    assert capabilities(made) == CAPABILITIES
    contexts = [
        container["securityContext"]
        for pod in pods.values()
        for container in (*pod["containers"], *pod.get("initContainers", []))
    ]
    # Without new privileges: the agent does not get back the capability that it drops.
    assert all(context["allowPrivilegeEscalation"] is False for context in contexts)
    assert all(context["readOnlyRootFilesystem"] and context["capabilities"]["drop"] == ["ALL"] for context in contexts)
    agent = pods["DaemonSet weft-agent"]
    (helper,) = agent["initContainers"]
    assert (agent["automountServiceAccountToken"], helper["restartPolicy"]) == (False, "Always")
    assert {mount["name"] for mount in helper["volumeMounts"]} == {"netns", "cgroups"}
    assert {volume["name"]: set(volume) for volume in agent["volumes"]}["netns"] == {"name", "emptyDir"}


def test_no_probe_asks_a_port() -> None:
    """A port that others can keep busy would have the kubelet end what serves."""
    made = kustomized(DAEMONSET / "base")
    probes = {
        f"{name} {kind}": container[kind]
        for name in arguments(made)
        for container in made[name]["spec"]["template"]["spec"]["containers"]
        for kind in ("readinessProbe", "livenessProbe", "startupProbe")
        if kind in container
    }
    assert len(probes) == 5
    assert [name for name, probe in probes.items() if not {"httpGet", "tcpSocket", "grpc"}.isdisjoint(probe)] == []
    assert {tuple(probe["exec"]["command"][:3]) for probe in probes.values()} == {
        ("/opt/weft/bin/python", "-BIm", "agent.probe")
    }


def test_every_port_has_a_policy() -> None:
    made = kustomized(DAEMONSET / "base")
    ports = {
        name.removeprefix("NetworkPolicy "): item["spec"]["ingress"][0]["ports"]
        for name, item in made.items()
        if item["kind"] == "NetworkPolicy"
    }
    assert ports == {
        "weft-agent": [{"protocol": "TCP", "port": 9464}],
        "weft-controller": [{"protocol": "TCP", "port": 9465}],
        "weft-waypoint": [{"protocol": "TCP", "port": FIRST_PORT, "endPort": LAST_PORT}],
    }
    for name in ports:
        labels = made[f"NetworkPolicy {name}"]["spec"]["podSelector"]["matchLabels"]
        (workload,) = (
            item for key, item in made.items() if key.endswith(f" {name}") and "template" in item.get("spec", ())
        )
        assert labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
