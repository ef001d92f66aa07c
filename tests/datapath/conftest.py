"""The miniature node, made once a session."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kernel import bpffs
from agent.kernel.links import ensure
from agent.kernel.loader import prepare
from support.datapath.netns_helper import NetnsHelper
from support.datapath.node import (
    BACKENDS,
    CGROUPS,
    EXCHANGE_PORT,
    PREFIX,
    PROGRAMS,
    Node,
    Pod,
    clean,
    load,
    make_namespace,
    other_installation,
    remove_stale,
    servers,
    start,
)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root: loads BPF programs and makes network namespaces")
    remove_stale()
    name = f"{PREFIX}{os.getpid()}"
    pins, kubepods = Path("/run", name, "bpf"), CGROUPS / name / "kubepods"
    try:
        kubepods.mkdir(parents=True)
        make_namespace(name)
        bpffs.mount(pins)
        version = prepare(pins, kubepods).version
        ensure(pins, kubepods, version)
        made = Node(name, pins, kubepods, version)
        with servers(name):
            yield made
            made.kernel.close()
    finally:
        clean(name)


@pytest.fixture(scope="session")
def helper(node: Node) -> Iterator[NetnsHelper]:
    """The network namespace helper of the node."""
    made = NetnsHelper(node.kubepods)
    yield made
    made.close()


@pytest.fixture(scope="module")
def loaded(node: Node, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """Pins and a kubepods cgroup of the module's own, where the programs run: its tests may replace all of them."""
    with other_installation(node, request.module.__name__.removeprefix("test_")) as installation:
        load(*installation)
        yield installation


@pytest.fixture(scope="module")
def pod(node: Node) -> Iterator[Pod]:
    """Sockets that a test keeps open end with its module: another module's test counts its own only."""
    pod = node.new_pod()
    yield pod
    pod.close()


@pytest.fixture(scope="session")
def exchange(node: Node) -> Iterator[int]:
    """The port of a server at the first backend that sends and receives as it is told."""
    command = (sys.executable, str(PROGRAMS / "traffic_exchange.py"), BACKENDS["4"][0], str(EXCHANGE_PORT))
    with start(CGROUPS / node.name / "exchange", node.name, *command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        yield EXCHANGE_PORT
        process.kill()
