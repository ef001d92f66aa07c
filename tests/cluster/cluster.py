"""A real Kubernetes cluster of two nodes on one machine: `python tests/cluster/cluster.py --help`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import api_server
import builds
import cache
import kind_provider
import layout
import machine_provider
import prepare
import progress
from api_server import kubectl
from provider import Provider

MANIFESTS = Path(__file__).parent / "manifests"
PROVIDER: Provider = {"machines": machine_provider, "kind": kind_provider}[layout.PROVIDER]
NODES = PROVIDER.NODES


def check() -> None:
    """Exit with a sentence when this machine cannot have the cluster."""
    PROVIDER.require()


def build() -> None:
    """Fetch and build everything that the cluster needs, unless the cache has it."""
    prepare.prepare(PROVIDER.TARGET)


def up(channel: str = "experimental", version: str = builds.NEWEST) -> None:
    """Make the cluster, in the place of one that is there, with a channel and version of the Gateway API."""
    PROVIDER.require()
    build()
    with cache.alone(layout.NAME):
        PROVIDER.remove()
        layout.STATE.mkdir(parents=True)
        PROVIDER.start()
        _fill(builds.gateway_api(version) / channel)
    print(f"export KUBECONFIG={layout.KUBECONFIG} PATH={builds.program(builds.KUBERNETES, 'kubectl').parent}:$PATH")


def down() -> None:
    """Remove the cluster, and what one that was killed has left."""
    PROVIDER.require()
    with cache.alone(layout.NAME):
        PROVIDER.remove()


def enter(name: str, command_line: Sequence[str]) -> None:
    """Become a command on a node, or on the control plane's machine."""
    argv = [*PROVIDER.enter(name), *command_line]
    os.execvp(argv[0], argv)


def crash(name: str) -> None:
    """Kill everything on a machine, as if its power had failed."""
    PROVIDER.crash(name)


def boot(name: str) -> None:
    """Start a machine again that has crashed."""
    PROVIDER.boot(name)
    if name == layout.CONTROL_PLANE.name:
        api_server.wait()


def load(archive: Path) -> None:
    """Import an image archive on all nodes."""
    PROVIDER.load(archive)


def _fill(definitions: Path) -> None:
    with progress.timed(f"cluster: {definitions.parent.name} ({definitions.name}) applied"):
        # Only one channel's folder says which of its files belong together: the other has no more than those.
        way = "--kustomize" if (definitions / "kustomization.yaml").exists() else "--filename"
        kubectl("create", way, str(definitions))
        kubectl("create", "--filename", str(builds.multicluster_api()))
    with progress.timed("cluster: all nodes ready"):
        kubectl("wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
    with progress.timed("cluster: DNS ready"):
        kubectl("rollout", "status", "--timeout=120s", "--namespace=kube-system", "deployment/coredns")
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinition", "--all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    commands = {command.__name__: command for command in (check, build, up, down, enter, crash, boot, load)}
    parsers = {name: subparsers.add_parser(name, help=command.__doc__) for name, command in commands.items()}
    parsers["up"].add_argument("--channel", choices=("standard", "experimental"), default="experimental")
    parsers["up"].add_argument(
        "--gateway-api", dest="version", choices=tuple(builds.CONFORMANCE), default=builds.NEWEST
    )
    for name in ("enter", "crash", "boot"):
        parsers[name].add_argument("name", choices=[layout.CONTROL_PLANE.name, *(node.name for node in NODES)])
    parsers["enter"].add_argument("command_line", nargs="+")
    parsers["load"].add_argument("archive", type=Path)
    arguments = vars(parser.parse_args())
    commands[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
