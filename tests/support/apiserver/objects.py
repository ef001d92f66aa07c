"""Objects for tests against an API server, and a store that follows a source."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent.kube.kubernetes_source import KubernetesSource
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Synced, Upsert
from agent.model.meta import Key

GATEWAY = "/apis/gateway.networking.k8s.io/v1"
IMPORTS = "/apis/multicluster.x-k8s.io/v1beta1"
PATIENCE = 30.0


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name: str, *ports: int) -> dict[str, Any]:
    listed = [{"name": f"http-{port}", "port": port} for port in ports or (80,)]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": listed}}


def service_import(name: str, *ips: str, version: str = "v1beta1") -> dict[str, Any]:
    spec = {"type": "ClusterSetIP", "ips": list(ips), "ports": [{"name": "http", "port": 80}]}
    kind = {"apiVersion": f"multicluster.x-k8s.io/{version}", "kind": "ServiceImport"}
    return kind | {"metadata": {"name": name}, "spec": spec}


def pod(name: str, node: str, **labels: str) -> dict[str, Any]:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def parent(name: str, **more: Any) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, **more}


def http_route(name: str, *parents: dict[str, Any], backend: str = "web") -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": backend, "port": 80}]}]
    meta = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name}}
    return meta | {"spec": {"parentRefs": list(parents) or [parent("web")], "rules": rules}}


class Follower:
    """Applies the changes of a source, as the store does."""

    def __init__(self, source: KubernetesSource) -> None:
        self.source = source
        self.values: dict[Key, Keyed] = {}
        self.problems: dict[str, Problem] = {}
        self.synced = False
        self.changes: list[Change] = []

    async def run(self) -> None:
        """Apply changes until cancelled."""
        async for batch in self.source.changes():
            for change in batch:
                self._take(change)
            self.changes += batch

    def _take(self, change: Change) -> None:
        match change:
            case Upsert(value):
                self.values[value.key] = value
            case Delete(key):
                del self.values[key]  # a delete of what was never said is an error
            case Problem(where):
                self.problems[where] = change
            case Resolved(where):
                del self.problems[where]
            case Synced():
                self.synced = True

    def names(self, kind: str, namespace: str | None = None) -> list[str]:
        """The names of the objects of a kind."""
        return sorted(key.name for key in self.values if key.kind == kind and namespace in (None, key.namespace))

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until a condition holds. Raises `TimeoutError`."""
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.05)
