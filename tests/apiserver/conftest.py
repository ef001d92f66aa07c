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
from support.apiserver.gateway import folder, gateway_cluster, install
from support.apiserver.manifests import agent_account, apply
from support.apiserver.objects import PATIENCE
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
