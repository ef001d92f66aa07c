"""Pods that make requests while something happens to the cluster, and what became of their requests."""

import collections
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cluster
import weft_image
from weft_processes import until

# The lab's server and these clients run in the only image that has Python and gRPC.
PYTHON = "/opt/weft/bin/python"
STEADY, EVERY_KIND = (Path(__file__).with_name(name) for name in ("pod_steady.py", "pod_every_kind.py"))
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{does: load}}}}
spec:
  nodeName: {node}
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: {image}
      command: {command}
      volumeMounts: [{{name: clients, mountPath: /clients}}]
  volumes: [{{name: clients, configMap: {{name: clients}}}}]
---
"""
MORE_THAN_ENOUGH = 900.0


@dataclass
class Seen:
    """What the clients counted together: exchanges by kind and way, ends of long-lived connections, failures."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    lives: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, logged: str) -> None:
        """One client's JSON."""
        found = json.loads(logged)
        self.counts.update(found["counts"])
        self.lives.update(found.get("lives", {}))
        self.failures += found["failures"]


@dataclass(frozen=True)
class Client:
    """A pod that runs one of the clients until it is told to end."""

    namespace: str
    name: str
    node: str
    program: Path
    arguments: tuple[str, ...]

    def manifest(self) -> str:
        command = json.dumps([PYTHON, f"/clients/{self.program.name}", *self.arguments])
        image = f"{weft_image.NAME}:{weft_image.tag()}"
        return POD.format(name=self.name, node=self.node, image=image, command=command)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return cluster.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def output(self) -> str:
        """What it printed in the end; raises RuntimeError with that when it failed."""
        get_phase = ("get", "pod", self.name, "--output=jsonpath={.status.phase}")
        until(f"{self.name} ends", lambda: self.kubectl(*get_phase) in ("Succeeded", "Failed"))
        logged = self.kubectl("logs", self.name)
        if self.kubectl(*get_phase) == "Failed":
            raise RuntimeError(logged)
        return logged


def every_kind(namespace: str, node: str) -> Client:
    """Requests of every kind to web.shop and rpc.shop."""
    return Client(namespace, f"every-kind-{node}", node, EVERY_KIND, (str(MORE_THAN_ENOUGH), "4"))


def provide(namespace: str) -> None:
    """The clients' programs, for the pods of a namespace."""
    files = [f"--from-file={program}" for program in (STEADY, EVERY_KIND)]
    cluster.kubectl(f"--namespace={namespace}", "create", "configmap", "clients", *files)


@contextmanager
def running(*clients: Client) -> Iterator[dict[str, Seen]]:
    """Clients at work for as long as the block; what each saw is there after it, by its name."""
    seen = {client.name: Seen() for client in clients}
    try:
        for client in clients:
            client.kubectl("apply", "-f", "-", stdin=client.manifest())
        for client in clients:
            client.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", client.name)
        yield seen
        for client in clients:
            client.kubectl("exec", client.name, "--", "sh", "-c", "kill -TERM 1")
        for client in clients:
            seen[client.name].add(client.output())
    finally:
        for client in clients:
            client.kubectl("delete", "pod", client.name, "--ignore-not-found", "--force")
