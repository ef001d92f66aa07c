"""The capabilities that containers of the manifests have, and commands that have no others."""

from collections.abc import Iterable
from typing import Any

import yaml

from support import REPOSITORY


def of_container(name: str, component: str = "") -> list[str]:
    """The capabilities of a container of the agent's pod, as the manifest has them: `NET_ADMIN`. A component adds its
    own.
    """
    pod = yaml.safe_load((REPOSITORY / "daemonset/base/agent.yaml").read_text())["spec"]["template"]["spec"]
    containers: dict[str, Any] = {item["name"]: item for item in (*pod["containers"], *pod["initContainers"])}
    context = containers[name]["securityContext"]
    assert (context["capabilities"]["drop"], context["allowPrivilegeEscalation"]) == (["ALL"], False)
    return [*context["capabilities"]["add"], *(_added(component) if component else ())]


def _added(component: str) -> list[str]:
    """The capabilities that the patches of a component add."""
    text = (REPOSITORY / "daemonset/components" / component / "kustomization.yaml").read_text()
    patches = [step for patch in yaml.safe_load(text)["patches"] for step in yaml.safe_load(patch["patch"])]
    return [step["value"] for step in patches if step["path"].endswith("/capabilities/add/-")]


def with_only(capabilities: Iterable[str]) -> list[str]:
    """Words before a command that then has these capabilities only, as a container runtime does it."""
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    return ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", "--no-new-privs"]
