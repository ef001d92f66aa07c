"""Helpers for a lab with an agent: wait until it has settled, send one request from a pod."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from support.node.lab_handle import LabHandle

CLIENT, OTHER_CLIENT, OUTSIDER = "app/client", "other/client", "outside/client"


@dataclass(frozen=True)
class Answer:
    """What curl saw, and what the echo server saw when it was reached."""

    status: int
    headers: dict[str, str]
    seen: dict[str, Any]

    @property
    def pod(self) -> str:
        """`v1` or `v2`."""
        return str(self.seen.get("pod", "")).split("-")[0]

    def received(self, name: str) -> list[str]:
        """The values of a request header as the server got them."""
        return [value for key, value in self.seen.get("headers", []) if key.lower() == name]


def settle(mesh: LabHandle, seen: Callable[[Any], bool]) -> None:
    """Wait until the status shows a change, and the agent has reconciled it."""

    def settled() -> bool:
        status = mesh.status()
        listeners = status["waypoint"]["listeners"]
        in_step = status["ready"] and not status["reconciling"]
        return seen(status) and in_step and all(item["state"] in ("ready", "draining") for item in listeners)

    mesh.wait_for("the agent settles", settled)


def get(mesh: LabHandle, url: str, *options: str, client: str = CLIENT) -> Answer:
    """One request of a pod."""
    out = mesh.exec(client, "curl", "-sS", "-m", "8", "-i", *options, url).stdout
    head, _, body = out.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, json.loads(body) if body.startswith("{") else {})
