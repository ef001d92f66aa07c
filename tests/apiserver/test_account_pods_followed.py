"""Pods of the accounts that policies name, on a real API server and with the permissions of an agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.ir.policy import ServiceAccount
from agent.kube.node_source import NodeSource
from agent.model.facts import AccountPod
from support.apiserver.gateway import install, install_policies
from support.apiserver.manifests import account, apply
from support.apiserver.objects import Follower, namespace, pod
from support.apiserver.process import Cluster
from support.apiserver.source import following

MERGE = "application/merge-patch+json"
PODS = "/api/v1/namespaces/app/pods"
WEB, DB, ALL = (ServiceAccount("app", name) for name in ("web", "db", "*"))


@pytest.fixture(scope="module")
def server(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the accounts of weft, and a namespace."""
    made = Cluster(tmp_path_factory.mktemp("accounts"))
    try:
        made.start()
        install(made)
        install_policies(made)
        for file in ("namespace.yaml", "rbac.yaml"):
            apply(made, f"base/{file}")
        made.request("POST", "/api/v1/namespaces", namespace("app"))
        yield made
    finally:
        made.stop()


@pytest.fixture
def kubeconfig(server: Cluster, tmp_path: Path) -> Path:
    return account(server, "weft-agent", tmp_path)


def create(cluster: Cluster, name: str, service_account: str, address: str, node: str = "n2") -> None:
    """A running pod."""
    document = pod(name, node)
    document["spec"]["serviceAccountName"] = service_account
    cluster.request("POST", PODS, document)
    set_status(cluster, name, phase="Running", podIP=address, podIPs=[{"ip": address}])


def set_status(cluster: Cluster, name: str, **status: Any) -> None:
    cluster.request("PATCH", f"{PODS}/{name}/status", {"status": status}, MERGE)


def delete(cluster: Cluster, name: str) -> None:
    cluster.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


def source(follower: Follower) -> NodeSource:
    assert isinstance(follower.source, NodeSource)
    return follower.source


def known(follower: Follower) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Account and addresses of each pod, by watch and name."""
    found = [value for value in follower.values.values() if isinstance(value, AccountPod)]
    return {value.key.name: (value.service_account, value.addresses) for value in found}


async def test_the_pods_of_wanted_accounts_on_other_nodes_are_followed(server: Cluster, kubeconfig: Path) -> None:
    create(server, "a", "web", "10.1.0.1")
    create(server, "b", "db", "10.1.0.2")
    create(server, "own", "web", "10.1.0.3", node="n1")
    async with following(kubeconfig) as follower:
        assert (known(follower), source(follower).accounts_listed) == ({}, True)
        source(follower).want_accounts(frozenset({WEB, ServiceAccount("nowhere", "web")}))
        await follower.until(lambda: source(follower).accounts_listed)
        assert known(follower) == {"web/a": ("web", ("10.1.0.1",))}
        create(server, "c", "web", "10.1.0.4")
        await follower.until(lambda: "web/c" in known(follower))
        set_status(server, "a", phase="Failed")
        await follower.until(lambda: "web/a" not in known(follower))
        delete(server, "c")
        await follower.until(lambda: known(follower) == {})
        # The pods of this node are in the store as Pods.
        assert follower.names("Pod", "app") == ["own"]
        states = source(follower).status()["accounts"]["watched"]
        assert states == {name: {"objects": 0, "state": "watching"} for name in ("app/web", "nowhere/web")}
    for name in ("a", "b", "own"):
        delete(server, name)


async def test_what_is_wanted_changes_and_no_pod_is_unknown_meanwhile(server: Cluster, kubeconfig: Path) -> None:
    create(server, "a", "web", "10.1.0.1")
    create(server, "b", "db", "10.1.0.2")
    async with following(kubeconfig, account_watches=1) as follower:
        source(follower).want_accounts(frozenset({WEB}))
        await follower.until(lambda: known(follower).keys() == {"web/a"})
        begin = len(follower.changes)
        source(follower).want_accounts(frozenset({WEB, ALL}))
        await follower.until(lambda: known(follower).keys() == {"*/a", "*/b"})
        kinds = [type(change).__name__ for change in follower.changes[begin:]]
        assert kinds == ["Upsert", "Upsert", "Delete"]
        source(follower).want_accounts(frozenset({WEB, DB}))
        assert source(follower).status()["accounts"]["leftOut"] == ["app/web"]
        await follower.until(lambda: known(follower).keys() == {"db/b"})
        source(follower).want_accounts(frozenset())
        await follower.until(lambda: known(follower) == {})
        assert source(follower).status()["accounts"] == {"watched": {}, "leftOut": []}
    for name in ("a", "b"):
        delete(server, name)


async def test_a_server_that_goes_away_takes_no_pod_along(server: Cluster, kubeconfig: Path) -> None:
    create(server, "a", "web", "10.1.0.1")
    async with following(kubeconfig) as follower:
        source(follower).want_accounts(frozenset({WEB}))
        await follower.until(lambda: known(follower).keys() == {"web/a"})
        server.kill_server()
        server.start()
        assert known(follower).keys() == {"web/a"}
        create(server, "b", "web", "10.1.0.2")
        await follower.until(lambda: known(follower).keys() == {"web/a", "web/b"})
    for name in ("a", "b"):
        delete(server, name)
