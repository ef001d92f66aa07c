"""The Helm chart installs what the kustomizations do, and its values reach the commands that understand them."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from agent.cli import pod
from agent.cli.main import application
from support.manifests import DAEMONSET, Objects, arguments, kustomized, overlay, templated

# Values of the chart that say the same as each overlay and component.
OVERLAYS = {
    "systemd-cgroup": {"agent": {"kubepods": "/sys/fs/cgroup/kubepods.slice"}},
    "hybrid": {"agent": {"kubepods": "/sys/fs/cgroup/unified/kubepods"}},
    "kind": {"agent": {"kubepods": "/sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice"}},
}
COMPONENTS = {
    "prometheus": {"podMonitor": True},
    "startup-taint": {"startupTaint": True},
    "encryption": {"encryption": True},
    "certificates": {"certificates": True},
}
EVERYTHING = {
    "image": {"repository": "registry.example.org/weft", "tag": "1.2.3"},
    "pullSecrets": ["registry"],
    "logLevel": "debug",
    "agent": {
        "kubepods": "/sys/fs/cgroup/kubepods.slice",
        "unknownPods": "reject",
        "enrolKubeSystem": True,
        "clustersetCidrs": ["10.96.0.0/16", "fd00:96::/112"],
        "otlpEndpoint": "collector.tracing:4317",
        "tracePercent": 0.5,
        "arguments": ["--zone=a", "--audit-seconds=60"],
        "seccompProfile": {"type": "Unconfined"},
        "resources": {"limits": {"memory": "1Gi"}},
    },
    "netnsHelper": {"resources": {"limits": {"memory": "64Mi"}}},
    "waypoint": {"concurrency": 4, "memory": 512, "drainSeconds": 55, "resources": {"limits": {"cpu": "2"}}},
    "controller": {"replicas": 3, "resources": {"limits": {"memory": "256Mi"}}},
    "networkPolicy": {"enabled": True, "monitoring": ["metrics", "dashboards"]},
    "encryption": True,
    "certificates": True,
    "startupTaint": True,
    "podMonitor": True,
}


def without_namespace(objects: Objects) -> Objects:
    """Helm has a release's namespace made by itself."""
    return {name: item for name, item in objects.items() if item["kind"] != "Namespace"}


def test_the_chart_as_it_is_is_the_base(tmp_path: Path) -> None:
    base = kustomized(DAEMONSET / "base")
    assert "Namespace weft-system" in base
    assert templated(tmp_path, {}) == without_namespace(base)


@pytest.mark.parametrize("name", sorted(path.name for path in (DAEMONSET / "overlays").iterdir()))
def test_the_chart_can_be_each_overlay(name: str, tmp_path: Path) -> None:
    wanted = kustomized(DAEMONSET / "overlays" / name)
    assert templated(tmp_path, OVERLAYS[name]) == without_namespace(wanted)
    assert wanted != kustomized(DAEMONSET / "base")


@pytest.mark.parametrize("name", sorted(path.name for path in (DAEMONSET / "components").iterdir()))
def test_the_chart_can_be_each_component(name: str, tmp_path: Path) -> None:
    own = overlay(tmp_path, components=[os.path.relpath(DAEMONSET / "components" / name, tmp_path)])
    wanted = kustomized(own)
    assert templated(tmp_path, COMPONENTS[name]) == without_namespace(wanted)
    assert wanted != kustomized(DAEMONSET / "base")


def test_every_value_of_a_command_arrives(tmp_path: Path) -> None:
    assert arguments(templated(tmp_path, EVERYTHING)) == {
        "DaemonSet weft-agent": [
            "agent",
            "--kubernetes",
            "--node=$(NODE_NAME)",
            "--metrics=0.0.0.0:9464",
            "--netns-helper=/run/weft-netns/helper.sock",
            "--encryption",
            "--kubepods=/sys/fs/cgroup/kubepods.slice",
            "--unknown-pods=reject",
            "--enrol-kube-system",
            "--clusterset-cidr=10.96.0.0/16",
            "--clusterset-cidr=fd00:96::/112",
            "--otlp-endpoint=collector.tracing:4317",
            "--trace-percent=0.5",
            "--zone=a",
            "--audit-seconds=60",
            "--log-level=debug",
        ],
        "DaemonSet weft-waypoint": [
            "waypoint",
            "--id=$(POD_NAME)",
            "--address=$(POD_IPS)",
            "--concurrency=4",
            "--memory=512",
        ],
        "Deployment weft-controller": [
            "controller",
            "--identity=$(POD_NAME)",
            "--namespace=$(POD_NAMESPACE)",
            "--metrics=0.0.0.0:9465",
            "--health-socket=/run/weft/health.sock",
            "--startup-taint",
            "--certificates",
            "--log-level=debug",
        ],
    }


def test_every_value_of_a_pod_arrives(tmp_path: Path) -> None:
    found = templated(tmp_path, EVERYTHING)
    pods = {name: found[name]["spec"]["template"]["spec"] for name in arguments(found)}
    assert {name: pod["containers"][0]["image"] for name, pod in pods.items()} == {
        "DaemonSet weft-agent": "registry.example.org/weft:1.2.3",
        "DaemonSet weft-waypoint": "registry.example.org/weft-waypoint:1.2.3",
        "Deployment weft-controller": "registry.example.org/weft:1.2.3",
    }
    assert all(pod["imagePullSecrets"] == [{"name": "registry"}] for pod in pods.values())
    assert {name: pod["containers"][0]["resources"]["limits"] for name, pod in pods.items()} == {
        "DaemonSet weft-agent": {"memory": "1Gi"},
        "DaemonSet weft-waypoint": {"cpu": "2"},
        "Deployment weft-controller": {"memory": "256Mi"},
    }
    assert found["Deployment weft-controller"]["spec"]["replicas"] == 3
    agent = pods["DaemonSet weft-agent"]
    assert agent["containers"][0]["securityContext"]["seccompProfile"] == {"type": "Unconfined"}
    (helper,) = agent["initContainers"]
    assert (helper["image"], helper["resources"]["limits"]) == ("registry.example.org/weft:1.2.3", {"memory": "64Mi"})
    assert helper["args"] == [
        "--socket=/run/weft-netns/helper.sock",
        "--kubepods=/sys/fs/cgroup/kubepods.slice",
        "--node-network=/proc/1/ns/net",
    ]
    waypoint = pods["DaemonSet weft-waypoint"]
    assert hook(waypoint)[-1] == "--seconds=55"
    assert waypoint["terminationGracePeriodSeconds"] == 60


def test_the_metrics_are_for_the_namespaces_that_are_named(tmp_path: Path) -> None:
    found = templated(tmp_path, EVERYTHING)
    for name in ("weft-agent", "weft-controller"):
        (rule,) = found[f"NetworkPolicy {name}"]["spec"]["ingress"]
        (expression,) = rule["from"][0]["namespaceSelector"]["matchExpressions"]
        assert expression["values"] == ["metrics", "dashboards"]


def test_a_cluster_may_have_policies_of_its_own(tmp_path: Path) -> None:
    found, everything = templated(tmp_path, {"networkPolicy": {"enabled": False}}), templated(tmp_path, {})
    assert everything.keys() - found.keys() == {
        f"NetworkPolicy weft-{part}" for part in ("agent", "controller", "waypoint")
    }


def hook(waypoint: dict[str, Any]) -> list[str]:
    """What a waypoint's pod runs before it ends."""
    return waypoint["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_commands_understand_their_arguments(values: dict[str, Any], tmp_path: Path) -> None:
    found = templated(tmp_path, values)
    commands = arguments(found)
    assert len(commands) == 3
    waypoint = commands.pop("DaemonSet weft-waypoint")
    *program, drain, seconds = hook(found["DaemonSet weft-waypoint"]["spec"]["template"]["spec"])
    assert f"ENTRYPOINT {json.dumps(program)}" in (DAEMONSET / "Dockerfile").read_text()
    for pod_command in (waypoint, [drain, seconds]):
        pod.parser().parse_args([option.replace("$(POD_IPS)", "10.0.0.1") for option in pod_command])
    for name, *options in [*commands.values(), waypoint, [drain, seconds]]:
        command = typer.main.get_command(application([name, "status"])).commands[name]  # type: ignore[attr-defined]
        command.make_context(name, [option.replace("$(POD_IPS)", "10.0.0.1") for option in options])


def test_every_value_is_tried_here() -> None:
    values = yaml.safe_load((DAEMONSET / "chart/values.yaml").read_text())
    assert value_paths(values) - {"waypoint.enabled"} == value_paths(EVERYTHING)


def value_paths(values: dict[str, Any], above: str = "") -> set[str]:
    """The values' paths, as `helm --set` takes them."""
    found: set[str] = set()
    for name, value in values.items():
        below = isinstance(value, dict) and name != "resources"
        found |= value_paths(value, f"{above}{name}.") if below else {f"{above}{name}"}
    return found


def test_a_mesh_without_waypoints(tmp_path: Path) -> None:
    found = templated(tmp_path, {"waypoint": {"enabled": False}})
    assert found == {name: item for name, item in templated(tmp_path, {}).items() if name != "DaemonSet weft-waypoint"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agents": {}}, "additional properties 'agents' not allowed"),
        ({"agent": {"unknownPods": "drop"}}, "at '/agent/unknownPods': value must be one of '', 'pass', 'reject'"),
        ({"agent": {"kubepods": "kubepods.slice"}}, "at '/agent/kubepods': 'kubepods.slice' does not match pattern"),
        ({"agent": {"otlpEndpoint": "collector"}}, "at '/agent/otlpEndpoint': 'collector' does not match pattern"),
        ({"waypoint": {"concurrency": 0}}, "at '/waypoint/concurrency': minimum: got 0, want 1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_a_value_that_makes_no_sense_is_named(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        templated(tmp_path, values)
    assert message in caught.value.stderr


def test_weft_has_one_namespace(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        templated(tmp_path, {}, namespace="mesh")
    assert "weft is at home in the namespace weft-system" in caught.value.stderr


def test_versions_agree() -> None:
    chart = yaml.safe_load((DAEMONSET / "chart/Chart.yaml").read_text())
    base = yaml.safe_load((DAEMONSET / "base/kustomization.yaml").read_text())
    project = re.search(r'^version = "(.+)"', (DAEMONSET.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None
    assert {chart["version"], chart["appVersion"], *(image["newTag"] for image in base["images"])} == {project[1]}
