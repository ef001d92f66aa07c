"""The agent is killed ten times while endpoints change 50 times a second, modes flip and pods come: nothing fails.

Nothing is left behind: afterwards the kernel's tables are what a fresh start from nothing makes of the same objects.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent.kernel.links import detach
from support.node.l4_mesh import addresses, all_in_l4, endpoints, frontends, load, serve
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = pytest.mark.node

CLIENTS = ("app/client", "other/client")
KILLS = 10
POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: extra-{number}, namespace: app}}
spec:
  selector: {{matchLabels: {{app: extra-{number}}}}}
  template:
    metadata: {{labels: {{app: extra-{number}}}}}
    spec: {{containers: [{{name: main, command: [sleep, infinity]}}]}}
"""


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """The pods of the HTTP tests, in mode l4, and the Service `steady`."""
    lab = all_in_l4(make_lab, "churn")
    serve(lab)
    return lab


class Churn:
    """Something that goes on in a thread until it is told to stop."""

    def __init__(self, what: Callable[[int], None], seconds: float) -> None:
        self.rounds = 0
        self._what, self._seconds = what, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._what(self.rounds)
            self.rounds += 1

    def __enter__(self) -> "Churn":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def modes(status: Any) -> set[str]:
    """Of the pods and Services of the namespace that changed."""
    pods = {pod["mode"] for pod in status["pods"] if pod["pod"].startswith("app/")}
    return pods | {item["mode"] for item in status["frontends"] if item["service"].startswith("app/")}


def contents(mesh: LabHandle) -> dict[str, Any]:
    """Frontends and pods as the agent knows them to be in the kernel."""
    status = mesh.status()
    assert (status["drift"], status["failures"]) == (0, {})
    return {"frontends": status["frontends"], "pods": {pod["pod"]: pod["mode"] for pod in status["pods"]}}


def test_the_agent_is_killed_under_churn_and_nothing_fails(mesh: LabHandle) -> None:
    both = addresses(mesh)
    choices = [both, both[:1], both, both[1:]]

    def change_endpoints(number: int) -> None:
        mesh.apply(endpoints(choices[number % 4]))

    def flip_mode(number: int) -> None:
        mesh.label("Namespace", "", "app", f"weft.dev/mode={('l7', 'l4')[number % 2]}")

    def make_pods(number: int) -> None:
        (mesh.delete if number % 2 else mesh.apply)(POD.format(number=number // 2))

    with (
        load(mesh, CLIENTS),
        Churn(change_endpoints, 0.02) as changes,
        Churn(flip_mode, 1.0),
        Churn(make_pods, 2.0),
    ):
        for _ in range(KILLS):
            time.sleep(random.uniform(0.1, 1.5))
            mesh.agent_stop(kill=True)
            time.sleep(random.uniform(0.0, 1.0))
            mesh.agent_start()
    assert changes.rounds > 100
    mesh.apply(endpoints(both))
    mesh.label("Namespace", "", "app", "weft.dev/mode=l4")
    settle(mesh, lambda status: modes(status) == {"l4"} and all(len(item["backends"]) == 2 for item in frontends(mesh)))
    after = contents(mesh)
    mesh.agent_stop()
    detach(mesh.paths.bpf)
    mesh.agent_start()
    settle(mesh, lambda _: True)
    assert contents(mesh) == after
