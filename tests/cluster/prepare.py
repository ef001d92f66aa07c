"""Fetch and build what a make target needs, unless the cache has it: `python tests/cluster/prepare.py TARGET...`."""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import builds
import packages
from builds import COREDNS, ECHO, H2SPEC, HELM, KIND, KUBERNETES, LOAD, PAUSE, Tool

_Step = Callable[[], object]
# Raw HTTP/1.1 requests, good and bad: tests/node/test_waypoint_conformance.py.
RAW_REQUESTS = ("gunicorn", "27.0.1")


def _tests() -> Iterator[_Step]:
    """tests/apiserver, tests/manifests and tests/node."""
    yield partial(packages.debian, "etcd-server")
    yield from _programs(KUBERNETES, "kubectl", "kube-apiserver")
    yield from (step for tool in (HELM, H2SPEC, KIND, LOAD) for step in _programs(tool))
    yield from _definitions()
    yield partial(packages.source_of, *RAW_REQUESTS)


def _cluster() -> Iterator[_Step]:
    for package in ("etcd-server", "containerd", "runc", "containernetworking-plugins"):
        yield partial(packages.debian, package)
    yield from (step for tool in (KUBERNETES, COREDNS, ECHO, PAUSE) for step in _programs(tool))
    yield from _definitions()


def _bench() -> Iterator[_Step]:
    yield from _programs(KUBERNETES, "kube-proxy")


def _kind() -> Iterator[_Step]:
    yield from _programs(KUBERNETES, "kubectl")
    yield from (step for tool in (KIND, ECHO, PAUSE) for step in _programs(tool))
    yield from _definitions()


def _definitions() -> Iterator[_Step]:
    yield from (partial(builds.gateway_api, version) for version in builds.CONFORMANCE)
    yield builds.multicluster_api


def _programs(tool: Tool, *names: str) -> Iterator[_Step]:
    return (partial(builds.program, tool, name) for name in names or tool.packages)


TARGETS = {"tests": _tests, "cluster": _cluster, "kind": _kind, "bench": _bench}


def prepare(target: str) -> None:
    """Take a target's steps; those that the cache has take no time. Raises `CalledProcessError`."""
    for step in TARGETS[target]():
        step()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+", choices=TARGETS)
    begun = time.monotonic()
    for target in parser.parse_args().targets:
        prepare(target)
        print(f"{target}: everything is there, after {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
