"""A cluster for all tests of a module, and clusters for those that break theirs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.kube.client import ApiServer
from agent.kube.node_objects import PATH
from support.apiserver.agent import node_folders
from support.apiserver.certificate_requests import bind, run_account
from support.apiserver.gateway import folder, gateway_cluster, install, install_policies
from support.apiserver.manifests import account, agent_account, apply
from support.apiserver.objects import PATIENCE, namespace
from support.apiserver.process import Cluster, etcd, server
from support.apiserver.weft_nodes import FOREIGN, NODES, head, refusal


@pytest.fixture(scope="session")
def reason() -> None:
    """Skip, with the reason printed, where there is no API server to be had."""
    try:
        etcd(), server(), folder()
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cluster(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the standard channel and with AuthorizationPolicies. Tests use namespaces of their own."""
    with gateway_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def make_cluster(reason: None, tmp_path: Path) -> Iterator[Callable[[], Cluster]]:
    """An empty cluster that the test may break."""
    made: list[Cluster] = []

    def make() -> Cluster:
        made.append(Cluster(tmp_path / f"cluster{len(made)}"))
        made[-1].start()
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.stop()


@pytest.fixture
def node_name() -> Iterator[str]:
    """A name for the cgroups and the state folder of an agent."""
    with node_folders() as name:
        yield name


@pytest.fixture(scope="module")
def installed(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two nodes, the accounts, and the definition with its policy."""
    made = Cluster(tmp_path_factory.mktemp("nodes"))
    try:
        made.start()
        install(made)
        for file in ("namespace.yaml", "rbac.yaml", "weftnodes.yaml"):
            apply(made, f"base/{file}")
        for name in NODES:
            made.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            agent_account(made, name, made.folder)
        yield made
    finally:
        made.stop()


@pytest.fixture
async def agents(installed: Cluster) -> AsyncIterator[dict[str, ApiServer]]:
    """Each node's agent, once the policy is in force; no object is there."""
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(ApiServer(installed.folder / f"kubeconfig-agent-{name}", "weft-test"))
            for name in NODES
        }
        deadline = time.monotonic() + PATIENCE
        while FOREIGN not in await refusal(found["n1"], "POST", f"{PATH}?dryRun=All", head(installed, "n2")):
            assert time.monotonic() < deadline, "the policy is not in force"
            await asyncio.sleep(0.1)
        yield found
        for item in installed.request("GET", PATH)["items"]:
            installed.request("DELETE", f"{PATH}/{item['metadata']['name']}")


@pytest.fixture(scope="module")
def certificate_cluster(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two nodes, pods of `shop/web` on n1 and of `shop/done`, which has ended, on n1."""
    made = Cluster(tmp_path_factory.mktemp("certificates"))
    try:
        made.start()
        install_policies(made)
        for file in ("base/namespace.yaml", "base/rbac.yaml", "components/certificates/rbac.yaml"):
            apply(made, file)
        made.request("POST", "/api/v1/namespaces", namespace("shop"))
        for name in NODES:
            made.request("POST", "/api/v1/nodes", {"metadata": {"name": name}})
            agent_account(made, name, made.folder)
        for name in ("web", "other", "done"):
            made.request("POST", "/api/v1/namespaces/shop/serviceaccounts", {"metadata": {"name": name}})
        run_account(made, "shop", "web", "n1")
        run_account(made, "shop", "done", "n1", "Succeeded")
        bind(
            made,
            "accounts",
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"},
        )
        account(made, "weft-controller", made.folder)
        yield made
    finally:
        made.stop()


@pytest.fixture
async def web(certificate_cluster: Cluster) -> AsyncIterator[ApiServer]:
    """A pod of the account shop/web, on no node that the token names."""
    file = certificate_cluster.folder / "web-token"
    path = "/api/v1/namespaces/shop/serviceaccounts/web/token"
    file.write_text(certificate_cluster.request("POST", path, {"spec": {}})["status"]["token"])
    async with ApiServer(certificate_cluster.kubeconfig("web", token=file), "weft-test") as api:
        yield api
