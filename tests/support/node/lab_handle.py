"""A lab as tests use it: its pods, objects, agent and logs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.cli.agent_client import NoAgentError, get
from agent.cli.lab import wait_agent
from agent.ir.addresses import Family
from agent.lab import lifecycle, weft
from agent.lab.families import ranges_of
from agent.lab.paths import LabPaths
from agent.lab.patience import patient
from agent.lab.store import Object, Store
from agent.model.meta import Key
from agent.settings import STATUS_SOCKET
from support import REPOSITORY, TESTS

FACES = REPOSITORY / "examples" / "faces"
# An HTTPRoute for the Service echo of routes.yaml.
ECHO_TO_V1 = TESTS / "node" / "echo_to_v1.yaml"


class LabHandle:
    """One lab, as tests use it."""

    def __init__(self, name: str) -> None:
        self.paths = LabPaths(name)
        self.store = Store(self.paths)

    @property
    def has_ipv4(self) -> bool:
        """Whether the lab has IPv4, which is then its first family."""
        return ranges_of(self.paths)[0].family is Family.IPV4

    @property
    def waypoints(self) -> dict[str, str]:
        """The addresses of the lab's waypoints in its first family, by name."""
        return {name: next(iter(weft.waypoint_addresses(self.paths, name))) for name in weft.WAYPOINTS}

    def exec(self, pod: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in NAMESPACE/POD; POD can be a Deployment's name."""
        command, environment = lifecycle.exec_command(self.paths, pod, argv)
        return _run(command, check, environment)

    def node(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on the lab's node."""
        return _run(lifecycle.node_command(self.paths, argv), check)

    def python(self, pod: str, program: str) -> str:
        """What a Python program prints in a pod."""
        return self.exec(pod, sys.executable, "-c", program).stdout

    def curl(self, pod: str, url: str, *options: str) -> Any:
        """The echo server's answer to a request."""
        return json.loads(self.exec(pod, "curl", "-sS", "-m", "5", *options, url).stdout.splitlines()[0])

    def apply(self, manifest: str) -> list[str]:
        """Apply YAML."""
        return self.store.apply(manifest)

    def delete(self, manifest: str) -> list[str]:
        """Delete what YAML names."""
        return self.store.delete(manifest)

    def label(self, kind: str, namespace: str, name: str, *changes: str) -> None:
        """Set (`key=value`) or remove (`key-`) labels; `namespace` is empty for a Namespace."""
        self.store.label(Key(kind, namespace, name), changes)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object as it is now."""
        return self.store.load().get(Key(kind, namespace, name))

    def wait_ready(self) -> None:
        """Wait until every pod of the manifests exists and is ready."""
        lifecycle.wait_ready(self.paths)

    def wait_for(self, what: str, true: Callable[[], bool], patience: float = 60.0) -> None:
        """Wait until a condition holds; fails with its name."""
        lifecycle.wait_for(what, true, patience)

    def agent_start(self, project: Path | None = None) -> None:
        """Start the agent, perhaps of another version, and wait until it is ready."""
        lifecycle.start_agent(self.paths, project)
        wait_agent(self.paths)

    def status(self) -> Any:
        """The agent's report; raises NoAgentError, with the last that the agent said."""
        try:
            return get(self.paths.state / STATUS_SOCKET, "/status")
        except NoAgentError as error:
            raise NoAgentError(f"{error}; its log ends: {self.log('agent')[-2000:]}") from error

    def budgets(self, resource: str) -> dict[str, Any]:
        """What namespaces use of a resource, as `weft top --by namespace` has it, by namespace."""
        found = get(self.paths.state / STATUS_SOCKET, "/budgets")["budgets"]
        return {row["namespace"]: row for row in found if row["resource"] == resource}

    def agent_stop(self, kill: bool = False) -> None:
        """End the agent by SIGTERM, or SIGKILL."""
        lifecycle.stop_agent(self.paths, kill=kill)

    def agent_runs(self) -> bool:
        """Whether the agent runs."""
        return lifecycle.agent_runs(self.paths)

    def log(self, what: str) -> str:
        """A process's log."""
        return self.paths.log(what).read_text()


def _run(
    command: list[str], check: bool, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False, timeout=patient(60))
    if check and done.returncode:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr}{done.stdout}")
    return done


LabFactory = Callable[..., LabHandle]
