"""Routes that a real API server takes and that cannot be read: they are told so."""

import urllib.error
from typing import Any

from support.apiserver.controller import running
from support.apiserver.gateway import install, loosen
from support.apiserver.objects import GATEWAY, http_route, parent, service
from support.apiserver.process import Cluster
from support.apiserver.statuses import GOOD, MERGE, own_conditions, parents, until

ROUTES = f"{GATEWAY}/namespaces/default/httproutes"
BAD = [{"backendRefs": [{"name": "web", "port": 80, "weight": "half"}]}]
REFUSED = {"Accepted": ("False", "UnsupportedValue")}


def condition(cluster: Cluster, name: str) -> dict[str, Any]:
    """What the first entry says about acceptance."""
    (entry,) = parents(cluster, "default", name)
    (found,) = (item for item in entry["conditions"] if item["type"] == "Accepted")
    return found


async def test_a_route_that_cannot_be_read_is_told_why_and_what_stays_in_force(make_cluster):
    cluster = make_cluster()
    install(cluster)
    loosen(cluster, "httproutes")
    cluster.request("POST", "/api/v1/namespaces/default/services", service("web"))
    cluster.request("POST", ROUTES, http_route("web"))
    async with running(cluster.kubeconfig(), "undecodable") as controller:
        await until(lambda: own_conditions(cluster, "default") == GOOD)
        await until(lambda: _takes_anything(cluster))
        cluster.request("PATCH", f"{ROUTES}/web", {"spec": {"rules": BAD}}, MERGE)
        await until(lambda: own_conditions(cluster, "default") == REFUSED)
        found = condition(cluster, "web")
        assert found["observedGeneration"] == 2
        why = "spec.rules[0].backendRefs[0].weight: Expected `int`, got `str`"
        assert found["message"].startswith(f"{why}; generation 1")
        # What others write in the meantime is no obstacle.
        cluster.request("PATCH", f"{ROUTES}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
        gone = [parent("web"), parent("other"), {"name": 7, "kind": "Service", "group": ""}]
        cluster.request("PATCH", f"{ROUTES}/web", {"spec": {"parentRefs": gone}}, MERGE)
        await until(lambda: len(parents(cluster, "default")) == 2)
        good = http_route("web")["spec"]
        cluster.request("PATCH", f"{ROUTES}/web", {"spec": good}, MERGE)
        await until(lambda: own_conditions(cluster, "default") == GOOD)
        assert controller.metrics.written("HTTPRoute", "failed") == 0


async def test_a_route_that_could_never_be_read_has_nothing_in_force(make_cluster):
    cluster = make_cluster()
    install(cluster)
    loosen(cluster, "httproutes")
    await until(lambda: _takes_anything(cluster))
    bad = http_route("bad")
    bad["spec"]["rules"] = BAD
    cluster.request("POST", ROUTES, bad)
    async with running(cluster.kubeconfig(), "undecodable"):
        await until(lambda: own_conditions(cluster, "default", "bad") == REFUSED)
        assert "in force" not in condition(cluster, "bad")["message"]
        cluster.request("PATCH", f"{ROUTES}/bad", {"spec": {"parentRefs": [{"name": "gateway"}]}}, MERGE)
        await until(lambda: parents(cluster, "default", "bad") == [])


def _takes_anything(cluster: Cluster) -> bool:
    """Whether the definition's change has come into effect."""
    probe = http_route("probe")
    probe["spec"]["rules"] = BAD
    try:
        cluster.request("POST", f"{ROUTES}?dryRun=All", probe)
    except urllib.error.HTTPError:
        return False
    return True
