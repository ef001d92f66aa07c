"""The policy of the level Application of the Service `web` in the namespace `shop`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

MANIFESTS = Path(__file__).parents[2] / "node" / "authorization_requests.yaml"
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{name: web, namespace: shop}}
spec:
  targetRefs: [{{kind: Service, name: web}}]
  action: ALLOW
  enforcementLevel: Application
  rules: {rules}
"""


def request_lab(make_lab: LabFactory, name: str) -> LabHandle:
    """A lab with the Service, whose listeners are known."""
    lab = make_lab(name, [MANIFESTS], agent=True)
    settle(lab, lambda status: bool(status["waypoint"]["listeners"]))
    return lab


class Policies:
    """The policy of the Service."""

    def __init__(self, mesh: LabHandle) -> None:
        self.mesh = mesh

    def apply(self, rules: str, valid: bool = True) -> None:
        """Set the rules, and wait until they are in force; where they are not valid, until they are known."""
        self.mesh.apply(POLICY.format(rules=rules))
        stored = self.mesh.get("AuthorizationPolicy", "shop", "web")
        assert stored is not None
        wanted = {"name": "web", "generation": stored["metadata"]["generation"]}

        def known(status: Any) -> bool:
            return wanted in self.reported() and not status["problems"] if valid else bool(status["problems"])

        settle(self.mesh, known)
        self.mesh.wait_for("the Service's HTTP ports go through the waypoint", lambda: self.ready() == {80, 81, 7070})

    def ready(self) -> set[int]:
        """The Service's ports whose listeners are ready."""
        listeners = self.mesh.status()["waypoint"]["listeners"]
        names = [item["name"].partition(":") for item in listeners if item["state"] == "ready"]
        return {int(port) for service, _, port in names if service == "shop/web"}

    def reported(self) -> list[Any]:
        """The policies of the server's pod, as other nodes see them: none before the agent's first report."""
        reports = (self.mesh.paths.state / "weftnodes").glob("*.json")
        guarded = (json.loads(report.read_text())["status"].get("guarded", []) for report in reports)
        return [policy for entries in guarded for entry in entries for policy in entry["policies"]]


@contextmanager
def request_policies(mesh: LabHandle) -> Iterator[Policies]:
    """Sets the policy of the Service; afterwards there is none."""
    made = Policies(mesh)
    yield made
    mesh.delete(POLICY.format(rules="[]"))
    settle(mesh, lambda status: not status["protectedPods"])
