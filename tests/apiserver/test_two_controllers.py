"""One Route with a Gateway and a Service as parents: a gateway's controller and ours write to it at the same time."""

import asyncio
import urllib.error
from typing import Any

from agent.model.meta import CONTROLLER_NAME
from support.apiserver.controller import running
from support.apiserver.gateway import gateway_cluster
from support.apiserver.objects import GATEWAY, http_route, namespace, parent, service
from support.apiserver.process import Cluster
from support.apiserver.statuses import MERGE, until

OTHER = "example.org/gateway"
PATH = f"{GATEWAY}/namespaces/both/httproutes/web"
CONFLICT = 409


class GatewayController:
    """As the Gateway API wants them: it keeps its own entry up to date, and writes the others back as it read them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.writes = 0

    async def run(self) -> None:
        """Look after the Route, for ever."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(0.05)

    def _look(self) -> None:
        route = self._cluster.request("GET", PATH)
        meta, entries = route["metadata"], route.get("status", {}).get("parents", [])
        own = _entry(meta["generation"])
        if own in entries:
            return
        others = [entry for entry in entries if entry["controllerName"] != OTHER]
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": {"parents": [own, *others]}}
        try:
            self._cluster.request("PATCH", f"{PATH}/status", body, MERGE)
            self.writes += 1
        except urllib.error.HTTPError as error:
            if error.code != CONFLICT:
                raise


def _entry(generation: int) -> dict[str, Any]:
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "the gateway's",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}
    return {"parentRef": ref, "controllerName": OTHER, "conditions": [condition]}


def observed(cluster: Cluster) -> dict[str, set[int]]:
    """Which generations the entries of each controller speak of."""
    entries = cluster.request("GET", PATH).get("status", {}).get("parents", [])
    return {entry["controllerName"]: {it["observedGeneration"] for it in entry["conditions"]} for entry in entries}


async def test_each_has_its_entry_and_neither_touches_the_other_s(reason: None, tmp_path):
    with gateway_cluster(tmp_path) as cluster:
        cluster.request("POST", "/api/v1/namespaces", namespace("both"))
        cluster.request("POST", "/api/v1/namespaces/both/services", service("web"))
        route = http_route("web", {"name": "edge"}, parent("web"))
        cluster.request("POST", f"{GATEWAY}/namespaces/both/httproutes", route)
        async with running(cluster.kubeconfig(), "both") as ours:
            gateway = GatewayController(cluster)
            task = asyncio.ensure_future(gateway.run())
            try:
                for generation in range(1, 6):
                    await until(lambda now={generation}: observed(cluster) == {OTHER: now, CONTROLLER_NAME: now})
                    rules = [{"name": f"n{generation}", "backendRefs": [{"name": "web", "port": 80}]}]
                    cluster.request("PATCH", PATH, {"spec": {"rules": rules}}, MERGE)
                await until(lambda: observed(cluster) == {OTHER: {6}, CONTROLLER_NAME: {6}})
                assert _entry(6) in cluster.request("GET", PATH)["status"]["parents"]
                # Each wrote once a generation: nobody answers the other's write with one of its own.
                assert gateway.writes == 6
                await until(lambda: ours.metrics.written("HTTPRoute") == 6)
                assert ours.metrics.written("HTTPRoute", "failed") == 0
            finally:
                task.cancel()
                assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
