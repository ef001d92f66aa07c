"""What is there for kustomize, beside what the chart is compared with."""

import re
from pathlib import Path

from rendering import DAEMONSET, arguments, kustomized


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
    assert images == {"REGISTRY/weft:0.1.0"}


def test_the_controller_outlives_a_drained_node() -> None:
    made = kustomized(DAEMONSET / "base")
    controller, budget = made["Deployment weft-controller"]["spec"], made["PodDisruptionBudget weft-controller"]["spec"]
    assert budget["selector"] == controller["selector"]
    assert budget["maxUnavailable"] < controller["replicas"]
