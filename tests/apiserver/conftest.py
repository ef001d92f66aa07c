"""A cluster for all tests of a module, and clusters for those that break theirs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apiserver_agent import made_place
from apiserver_gateway import folder, gateway_cluster
from apiserver_process import Cluster, etcd, server


@pytest.fixture(scope="session")
def reason() -> None:
    """Skip, with the reason printed, where there is no API server to be had."""
    try:
        etcd(), server(), folder()
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cluster(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the standard channel. Tests use namespaces of their own."""
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
def place() -> Iterator[str]:
    """A name for the cgroups and the state folder of an agent."""
    with made_place() as name:
        yield name
