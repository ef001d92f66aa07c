"""`weft authz`: who may connect to whom, by the policies of manifests."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.client_text import client_text, ports_text
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.explain.manifests import read
from agent.explain.query import QueryError, parse_name
from agent.explain.reach import can_reach, who_can
from agent.explain.servers import Servers
from agent.kube.directory_source import SourceError, parsed
from agent.model.core import Service
from agent.model.meta import Key

SERVICE, POD = "NAMESPACE/SERVICE", "NAMESPACE/POD"
app = typer.Typer(help="Answer who may connect to whom, by the policies of manifests.", no_args_is_help=True)
Directory = Annotated[Path, typer.Option("-f", "--file", help="Manifests, also as kubectl get --output=json has them.")]
Format = Annotated[Output, typer.Option("-o", "--output", help="text or json.")]


@app.command("who-can")
def show_clients(
    service: Annotated[str, typer.Argument(metavar=SERVICE)],
    directory: Directory,
    port: Annotated[int | None, typer.Option(help="A port of the Service. Default: all.")] = None,
    output: Format = Output.TEXT,
) -> None:
    """Show which clients may connect to the pods of a Service, at which ports, and by which policy and rule.

    Needs no root, no kernel and no cluster.
    """
    document = _answer(
        directory, lambda servers: who_can(servers, Key(Service.__name__, *parse_name(service, SERVICE)), port)
    )
    if output is Output.JSON:
        print_json(document)
        return
    columns = ("PORT", "TARGET", "PODS", "CLIENTS", "REASON")
    print_table(f"Service {document['service']}", columns, map(_port_cells, document["ports"]))
    _print_notes(document)


@app.command("can-reach")
def show_servers(
    pod: Annotated[str, typer.Argument(metavar=POD, help="A pod, or its workload.")],
    directory: Directory,
    output: Format = Output.TEXT,
) -> None:
    """Show the pods and Services to which a pod may connect, and those that refuse it, with the policies.

    Needs no root, no kernel and no cluster.
    """
    document = _answer(directory, lambda servers: can_reach(servers, *parse_name(pod, POD)))
    if output is Output.JSON:
        print_json(document)
        return
    columns = ("PODS", "PORTS", "SERVICES", "VERDICT", "REASON")
    title = f"{document['pod']}, service account {document['serviceAccount']}"
    print_table(title, columns, map(_target_cells, document["targets"]))
    _print_notes(document)


def _answer(directory: Path, ask: Callable[[Servers], dict[str, Any]]) -> dict[str, Any]:
    """The answer, with a note about what cannot be used of the manifests."""
    try:
        manifests = read(directory)
        document = ask(Servers(manifests, parsed(directory)))
    except (SourceError, QueryError) as error:
        fail(str(error), Exit.USAGE)
    if manifests.problems:
        document["notes"].append(f"{len(manifests.problems)} objects or documents cannot be used: see weft lint")
    return document


def _port_cells(row: dict[str, Any]) -> tuple[object, ...]:
    clients = tuple(client_text(item["client"]) for item in row["clients"]) or ("no client",)
    reason = tuple(item["reason"] for item in row["clients"]) or (row["reason"],)
    return f"{row['port']}/{row['protocol']}", row["target"] or "unknown", tuple(row["pods"]), clients, reason


def _target_cells(row: dict[str, Any]) -> tuple[object, ...]:
    verdict = "allowed" if row["allowed"] else "refused"
    return tuple(row["pods"]), ports_text(row["ports"], row["but"]), tuple(row["services"]), verdict, row["reason"]


def _print_notes(document: dict[str, Any]) -> None:
    for note in document["notes"]:
        print_line(note, heading="note  ")
