"""A real Kubernetes cluster of two nodes on one machine: `python tests/cluster/cluster.py --help`."""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import builds
import cache
import control_plane
import images
import layout
import machines
import network
import nodes
import prepare
from certificates import Authority, Credential, kubeconfig
from layout import CONTROL_PLANE, MACHINES, NODES, Machine

MANIFESTS = Path(__file__).parent / "manifests"
RELAY = Path(__file__).with_name("relay.py")


def build() -> None:
    """Fetch and build everything that the cluster needs, unless the cache has it."""
    prepare.prepare("cluster")


def up(channel: str = "experimental", version: str = builds.NEWEST) -> None:
    """Make the cluster, in the place of one that is there, with a channel and version of the Gateway API."""
    _require_machine()
    build()
    with cache.alone(layout.NAME):
        machines.remove_all()
        layout.STATE.mkdir(parents=True)
        _start(Authority("weft-cluster"))
        _fill(builds.gateway_api(version) / channel)
    print(f"export KUBECONFIG={layout.KUBECONFIG} PATH={builds.program(builds.KUBERNETES, 'kubectl').parent}:$PATH")


def down() -> None:
    """Remove the cluster, and what one that was killed has left."""
    with cache.alone(layout.NAME):
        machines.remove_all()


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints; raises CalledProcessError, with its complaint on stderr."""
    command = [builds.program(builds.KUBERNETES, "kubectl"), f"--kubeconfig={layout.KUBECONFIG}", *arguments]
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


def enter(name: str, command_line: Sequence[str]) -> None:
    """Become a command on a machine."""
    argv = [*machines.enter(_machine(name)), *command_line]
    os.execvp(argv[0], argv)


def crash(name: str) -> None:
    """Kill everything on a machine, as if its power had failed."""
    machines.crash(_machine(name))


def boot(name: str) -> None:
    """Start a machine again that has crashed."""
    machine = _machine(name)
    machines.boot(machine)
    if machine == CONTROL_PLANE:
        _start_relay(_relay_port())
        _wait_for_api()


def load(archive: Path) -> None:
    """Import an image archive on all nodes."""
    for node in NODES:
        with archive.open("rb") as content:
            subprocess.run([*machines.enter(node), *nodes.import_command(Path("-"))], stdin=content, check=True)


def _machine(name: str) -> Machine:
    return next(machine for machine in MACHINES if machine.name == name)


def _require_machine() -> None:
    if os.geteuid() != 0:
        sys.exit("cluster: must run as root")
    if (layout.CGROUPS / "cgroup.controllers").exists():
        sys.exit("cluster: needs cgroups of version 1, or the hybrid tree, at /sys/fs/cgroup")


def _start(authority: Authority) -> None:
    with _told("machines started"):
        network.connect()
        _start_machines(authority)
        _write_kubeconfig(authority, _start_relay())
    with _told("API server ready"):
        _wait_for_api()


def _fill(definitions: Path) -> None:
    with _told(f"{definitions.parent.name} ({definitions.name}) and DNS applied"):
        _create_nodes()
        layout.READY.touch()
        # Only one channel's folder says which of its files belong together: the other has no more than those.
        way = "--kustomize" if (definitions / "kustomization.yaml").exists() else "--filename"
        kubectl("create", way, str(definitions))
        kubectl("create", "--filename", str(builds.multicluster_api()))
        kubectl("create", "-f", str(MANIFESTS / "coredns.yaml"))
    with _told("both nodes ready"):
        kubectl("wait", "--for=condition=Ready", "--timeout=120s", "node", "--all")
    with _told("DNS ready"):
        kubectl("rollout", "status", "--timeout=120s", "--namespace=kube-system", "deployment/coredns")
        kubectl("wait", "--for=condition=Established", "--timeout=30s", "customresourcedefinition", "--all")


def _start_machines(authority: Authority) -> None:
    credentials = layout.STATE / "credentials"
    credentials.mkdir(mode=0o700)
    control_plane.start(authority, credentials)
    archives = images.make_all(layout.STATE / "images")
    for node in NODES:
        nodes.start(node, authority, archives)


def _start_relay(port: int = 0) -> int:
    """Make the API server reachable at a port of the host's loopback; which one it is. With 0 the kernel chooses."""
    with socket.create_server(("127.0.0.1", port)) as listener, (layout.STATE / "relay.log").open("ab") as log:
        target = [str(CONTROL_PLANE.address), str(layout.API_PORT)]
        subprocess.Popen(
            ["nsenter", f"--net={CONTROL_PLANE.netns}", sys.executable, RELAY, str(listener.fileno()), *target],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        bound: int = listener.getsockname()[1]
    return bound


def _write_kubeconfig(authority: Authority, port: int) -> None:
    credential: Credential = authority.issue("weft-admin", ("system:masters",))
    layout.KUBECONFIG.touch(mode=0o600)
    layout.KUBECONFIG.write_text(kubeconfig(authority, f"https://127.0.0.1:{port}", credential))


def _relay_port() -> int:
    """Where the kubeconfig says that the relay is: it crashed with the control plane."""
    server = kubectl("config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}")
    return int(server.rpartition(":")[2])


def _wait_for_api(patience: float = 60.0) -> None:
    """`patience` is in seconds; raises TimeoutError."""
    program = builds.program(builds.KUBERNETES, "kubectl")
    command = [program, f"--kubeconfig={layout.KUBECONFIG}", "get", "--raw=/readyz"]
    end = time.monotonic() + patience
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > end:
            raise TimeoutError(f"the API server is not ready: see {CONTROL_PLANE.folder}/kube-apiserver.log")
        time.sleep(0.2)


def _create_nodes() -> None:
    items = [nodes.api_object(node) for node in NODES]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


@contextmanager
def _told(what: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    print(f"cluster: {what}: {time.monotonic() - begin:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    commands = {command.__name__: command for command in (build, up, down, enter, crash, boot, load)}
    parsers = {name: subparsers.add_parser(name, help=command.__doc__) for name, command in commands.items()}
    parsers["up"].add_argument("--channel", choices=("standard", "experimental"), default="experimental")
    parsers["up"].add_argument(
        "--gateway-api", dest="version", choices=tuple(builds.CONFORMANCE), default=builds.NEWEST
    )
    for name in ("enter", "crash", "boot"):
        parsers[name].add_argument("name", choices=[machine.name for machine in MACHINES])
    parsers["enter"].add_argument("command_line", nargs="+")
    parsers["load"].add_argument("archive", type=Path)
    arguments = vars(parser.parse_args())
    commands[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
