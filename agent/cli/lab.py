"""`weft lab`: run a one-node cluster in network namespaces."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import lab_waypoint
from agent.cli.agent_client import NoAgentError, get
from agent.cli.output import Output, fail, print_json, print_line, print_table
from agent.lab import cgroups, lifecycle
from agent.lab.controllers import is_ready, with_kind
from agent.lab.families import IPFamily
from agent.lab.paths import LabPaths
from agent.lab.store import CLUSTER_SCOPED, KINDS, Objects, Store
from agent.model.meta import Key
from agent.settings import STATUS_SOCKET

app = typer.Typer(help="Run a cluster of one node, in namespaces of its own.", no_args_is_help=True)
agent_app = typer.Typer(help="Control the agent on the lab's node.", no_args_is_help=True)
app.add_typer(agent_app, name="agent")
waypoint_app = typer.Typer(help="Control the waypoint on the lab's node.", no_args_is_help=True)
app.add_typer(waypoint_app, name="waypoint")

Name = Annotated[str, typer.Option("--name", help="The lab's name.", envvar="WEFT_LAB")]
File = Annotated[Path, typer.Option("--file", "-f", exists=True, help="A manifest, or a folder of them.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="text or json.")]


@app.command()
def up(
    directory: Annotated[Path, typer.Argument(exists=True, help="Manifests to start with.")],
    no_agent: Annotated[bool, typer.Option("--no-agent", help="Start the cluster without the mesh.")] = False,
    ip_family: Annotated[IPFamily, typer.Option(help="The IP family of node, pods and Services.")] = IPFamily.IPV4,
    name: Name = "lab",
    output: Format = Output.TEXT,
) -> None:
    """Start a lab, and wait until its pods and its agent are ready."""
    paths = _paths(name, must_be_up=False)
    with _exit_on_error():
        lifecycle.up(paths, [directory], agent=not no_agent, family=ip_family)
        if not no_agent:
            wait_agent(paths)
    _show(paths, output)


@app.command()
def down(name: Name = "lab") -> None:
    """Remove a lab, also after a crash."""
    with _exit_on_error():
        lifecycle.down(_paths(name, must_be_up=False))


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/POD; POD can be a Deployment's name.")],
    command: Annotated[list[str], typer.Argument(help="The command, after `--`.")],
    name: Name = "lab",
) -> None:
    """Run a command in a pod. Exits with the command's exit code."""
    wanted = command[1:] if command[0] == "--" else command
    with _exit_on_error():
        argv, environment = lifecycle.exec_command(_paths(name), pod, wanted)
    os.execvpe(argv[0], argv, environment)


@app.command("apply")
def apply_(file: File, name: Name = "lab") -> None:
    """Create or change objects."""
    for line in lifecycle.apply(_paths(name), [file]):
        print_line(line)


@app.command()
def delete(file: File, name: Name = "lab") -> None:
    """Delete the objects of a manifest."""
    for line in lifecycle.delete(_paths(name), [file]):
        print_line(line)


@app.command()
def label(
    kind: Annotated[str, typer.Argument(help="Namespace, Pod, Service, …")],
    object_name: Annotated[str, typer.Argument(metavar="NAME")],
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    name: Name = "lab",
) -> None:
    """Set or remove labels."""
    kind = next((known for known in KINDS if known.lower() == kind.lower()), kind)
    key = Key(kind, "" if kind in CLUSTER_SCOPED else namespace, object_name)
    try:
        Store(_paths(name)).label(key, changes)
    except KeyError:
        fail(f"there is no {key}")


@app.command()
def pods(name: Name = "lab", output: Format = Output.TEXT) -> None:
    """Show the pods."""
    found = _pods(Store(_paths(name)).load())
    if output is Output.JSON:
        print_json({"lab": name, "pods": found})
    else:
        _print_pods(found)


@app.command()
def status(name: Name = "lab", output: Format = Output.TEXT) -> None:
    """Show the lab's processes, Services and pods."""
    _show(_paths(name), output)


@agent_app.command("start")
def agent_start(name: Name = "lab") -> None:
    """Start the agent and wait until it is ready."""
    paths = _paths(name)
    with _exit_on_error():
        lifecycle.start_agent(paths)
        wait_agent(paths)


@agent_app.command("stop")
def agent_stop(name: Name = "lab") -> None:
    """Stop the agent, and wait until it has ended."""
    with _exit_on_error():
        lifecycle.stop_agent(_paths(name))


@agent_app.command("kill")
def agent_kill(name: Name = "lab") -> None:
    """Kill the agent with SIGKILL. The kernel's programs and maps stay."""
    with _exit_on_error():
        lifecycle.stop_agent(_paths(name), kill=True)


@waypoint_app.command("replace")
def waypoint_replace(
    name: Name = "lab",
    patience: Annotated[float, typer.Option(help="Seconds for connections to end before they are cut.")] = 60.0,
) -> None:
    """Replace the running Envoy by another one. New connections go to the new one, old ones finish."""
    with _exit_on_error():
        left = lab_waypoint.replace(_paths(name), patience)
    print_line(f"replaced; connections cut: {left}")


def wait_agent(paths: LabPaths, patience: float = 60.0) -> None:
    """Wait until the lab's agent is ready, at most `patience` seconds. Raises `LabError`."""

    def ready() -> bool:
        if not lifecycle.agent_runs(paths):
            raise lifecycle.LabError(f"the agent has ended: see {paths.log('agent')}")
        try:
            return bool(get(paths.state / STATUS_SOCKET, "/status")["ready"])
        except NoAgentError:
            return False

    lifecycle.wait_for(f"the agent is ready (see {paths.log('agent')})", ready, patience)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Turn an error into a sentence for the user and a non-zero exit code."""
    try:
        yield
    except (lifecycle.LabError, OSError) as error:
        fail(str(error))


def _paths(name: str, must_be_up: bool = True) -> LabPaths:
    try:
        paths = LabPaths(name)
    except ValueError as error:
        fail(str(error))
    if must_be_up and not paths.manifests.is_dir():
        fail(f"lab {name} is not up")
    return paths


def _pods(objects: Objects) -> list[dict[str, Any]]:
    return [
        {
            "namespace": key.namespace,
            "pod": key.name,
            "ip": pod.get("status", {}).get("podIP", ""),
            "ready": is_ready(pod),
            "restarts": pod.get("status", {}).get("restarts", 0),
        }
        for key, pod in with_kind(objects, "Pod")
    ]


def _services(objects: Objects) -> list[dict[str, Any]]:
    return [
        {
            "namespace": key.namespace,
            "service": key.name,
            "address": item["spec"].get("clusterIP", ""),
            "ports": [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in item["spec"].get("ports", ())],
        }
        for key, item in with_kind(objects, "Service")
    ]


def _show(paths: LabPaths, output: Output) -> None:
    objects = Store(paths).load()
    runs = {what: cgroups.populated(paths.system_cgroup(what)) for what in ("daemon", "agent")}
    services, found = _services(objects), _pods(objects)
    if output is Output.JSON:
        print_json({"lab": paths.name, **runs, "services": services, "pods": found})
        return
    for what, on in runs.items():
        print_line(f": {'runs' if on else 'is not running'}", heading=what)
    columns = ("NAMESPACE", "SERVICE", "ADDRESS", "PORTS")
    rows = ((s["namespace"], s["service"], s["address"], ", ".join(s["ports"])) for s in services)
    print_table("services", columns, rows)
    _print_pods(found)


def _print_pods(found: list[dict[str, Any]]) -> None:
    columns = ("NAMESPACE", "POD", "ADDRESS", "READY", "RESTARTS")
    rows = ((p["namespace"], p["pod"], p["ip"], "yes" if p["ready"] else "no", p["restarts"]) for p in found)
    print_table("pods", columns, rows)
