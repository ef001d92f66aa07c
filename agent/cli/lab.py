"""`weft lab`: a small cluster of one node, in namespaces of its own."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from agent.lab import cgroups, lifecycle
from agent.lab.controllers import is_ready, with_kind
from agent.lab.paths import LabPaths
from agent.lab.store import CLUSTER_SCOPED, KINDS, Store
from agent.model.meta import Key

app = typer.Typer(help="A small cluster of one node, in namespaces of its own.", no_args_is_help=True)
agent_app = typer.Typer(help="The agent on the lab's node.", no_args_is_help=True)
app.add_typer(agent_app, name="agent")
_OUT = Console()

Name = Annotated[str, typer.Option("--name", help="Which lab.", envvar="WEFT_LAB")]
File = Annotated[Path, typer.Option("--file", "-f", exists=True, help="A manifest, or a folder of them.")]
Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="How to show it.")]


def _fail(error: Exception) -> typer.Exit:
    Console(stderr=True).print(f"weft: {error}", style="red")
    return typer.Exit(1)


def _paths(name: str, must_be_up: bool = True) -> LabPaths:
    try:
        paths = LabPaths(name)
    except ValueError as error:
        raise _fail(error) from error
    if must_be_up and not paths.manifests.is_dir():
        raise _fail(lifecycle.LabError(f"lab {name} is not up"))
    return paths


@app.command()
def up(
    directory: Annotated[Path, typer.Argument(exists=True, help="Manifests to start with.")],
    no_agent: Annotated[bool, typer.Option("--no-agent", help="The cluster only, no mesh.")] = False,
    name: Name = "lab",
    output: Output = "table",
) -> None:
    """Start a lab and wait until its pods are ready."""
    paths = _paths(name, must_be_up=False)
    try:
        lifecycle.up(paths, [directory], agent=not no_agent)
    except (lifecycle.LabError, OSError) as error:
        raise _fail(error) from error
    _show(paths, output)


@app.command()
def down(name: Name = "lab") -> None:
    """Remove a lab and all that it left, also after a crash."""
    lifecycle.down(_paths(name, must_be_up=False))


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/POD; POD can be a Deployment's name.")],
    command: Annotated[list[str], typer.Argument(help="What to run, after `--`.")],
    name: Name = "lab",
) -> None:
    """Run a command in a pod; its exit code becomes ours."""
    wanted = command[1:] if command[0] == "--" else command
    try:
        argv, environment = lifecycle.exec_command(_paths(name), pod, wanted)
    except lifecycle.LabError as error:
        raise _fail(error) from error
    os.execvpe(argv[0], argv, environment)


@app.command("apply")
def apply_(file: File, name: Name = "lab") -> None:
    """Create or change objects."""
    for line in lifecycle.apply(_paths(name), [file]):
        _OUT.print(line, highlight=False)


@app.command()
def delete(file: File, name: Name = "lab") -> None:
    """Remove the objects that a manifest names."""
    for line in Store(_paths(name)).delete(file.read_text()):
        _OUT.print(line, highlight=False)


@app.command()
def label(
    kind: Annotated[str, typer.Argument(help="Namespace, Pod, Service, …")],
    object_name: Annotated[str, typer.Argument(metavar="NAME")],
    changes: Annotated[list[str], typer.Argument(metavar="KEY=VALUE|KEY-")],
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    name: Name = "lab",
) -> None:
    """Set or remove labels."""
    kind = next((known for known in sorted(KINDS) if known.lower() == kind.lower()), kind)
    key = Key(kind, "" if kind in CLUSTER_SCOPED else namespace, object_name)
    try:
        Store(_paths(name)).label(key, changes)
    except KeyError as error:
        raise _fail(lifecycle.LabError(f"there is no {key}")) from error


@app.command()
def pods(name: Name = "lab", output: Output = "table") -> None:
    """Show the pods."""
    paths = _paths(name)
    found = _pods(paths)
    if output == "json":
        typer.echo(msgspec.json.encode(found))
        return
    table = Table("NAMESPACE", "POD", "IP", "READY", "RESTARTS")
    for pod in found:
        table.add_row(*(str(pod[column]) for column in ("namespace", "pod", "ip", "ready", "restarts")))
    _OUT.print(table)


@app.command()
def status(name: Name = "lab", output: Output = "table") -> None:
    """Show what runs: the node's processes, Services and pods."""
    _show(_paths(name), output)


@agent_app.command("start")
def agent_start(name: Name = "lab") -> None:
    """Start the agent."""
    try:
        lifecycle.start_agent(_paths(name))
    except lifecycle.LabError as error:
        raise _fail(error) from error


@agent_app.command("stop")
def agent_stop(name: Name = "lab") -> None:
    """Ask the agent to end, and wait."""
    lifecycle.stop_agent(_paths(name))


@agent_app.command("kill")
def agent_kill(name: Name = "lab") -> None:
    """SIGKILL the agent: the datapath must not mind."""
    lifecycle.stop_agent(_paths(name), kill=True)


def _pods(paths: LabPaths) -> list[dict[str, Any]]:
    return [
        {
            "namespace": key.namespace,
            "pod": key.name,
            "ip": pod.get("status", {}).get("podIP", ""),
            "ready": is_ready(pod),
            "restarts": pod.get("status", {}).get("restarts", 0),
        }
        for key, pod in with_kind(Store(paths).load(), "Pod")
    ]


def _services(paths: LabPaths) -> list[dict[str, Any]]:
    return [
        {
            "namespace": key.namespace,
            "service": key.name,
            "address": item["spec"].get("clusterIP", ""),
            "ports": [port["port"] for port in item["spec"].get("ports", ())],
        }
        for key, item in with_kind(Store(paths).load(), "Service")
    ]


def _show(paths: LabPaths, output: str) -> None:
    runs = {what: cgroups.populated(paths.system_cgroup(what)) for what in ("daemon", "agent")}
    services = _services(paths)
    if output == "json":
        typer.echo(msgspec.json.encode({"lab": paths.name, **runs, "services": services, "pods": _pods(paths)}))
        return
    _OUT.print(
        f"lab {paths.name}: " + ", ".join(f"{what} {'runs' if on else 'is not running'}" for what, on in runs.items())
    )
    table = Table("NAMESPACE", "SERVICE", "ADDRESS", "PORTS")
    for item in services:
        table.add_row(item["namespace"], item["service"], item["address"], ", ".join(map(str, item["ports"])))
    _OUT.print(table)
    pods(paths.name, "table")


if __name__ == "__main__":
    app()
