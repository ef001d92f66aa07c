"""`weft authz`: who may connect to whom, by policies."""

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.agent_client import NoAgentError, get
from agent.cli.client_text import client_text, ports_text
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.explain.manifest_reach import ManifestReach
from agent.explain.manifests import read
from agent.explain.query import QueryError, parse_name
from agent.explain.reach import ReachQuery
from agent.explain.servers import Servers
from agent.kube.directory_source import SourceError, parsed
from agent.settings import DEFAULT_STATE, STATUS_SOCKET

SERVICE, POD = "NAMESPACE/SERVICE", "NAMESPACE/POD"
app = typer.Typer(help="Answer who may connect to whom, by policies.", no_args_is_help=True)
Manifests = Annotated[
    Path | None,
    typer.Option("-f", "--file", help="Answer by these manifests. Default: by what the agent of this node knows."),
]
State = Annotated[Path, typer.Option(help="The agent's state folder.")]
Format = Annotated[Output, typer.Option("-o", "--output", help="text or json.")]


@app.command("who-can")
def show_clients(
    service: Annotated[str, typer.Argument(metavar=SERVICE)],
    directory: Manifests = None,
    port: Annotated[int | None, typer.Option(help="A port of the Service. Default: all.")] = None,
    state: State = DEFAULT_STATE,
    output: Format = Output.TEXT,
) -> None:
    """Show which clients may connect to the pods of a Service, at which ports, and by which policy and rule.

    With manifests it needs no root, no kernel and no cluster.
    """
    document = _answer(ReachQuery(service=_name(service, SERVICE), port=port), directory, state)
    if output is Output.JSON:
        print_json(document)
        return
    columns = ("PORT", "TARGET", "PODS", "CLIENTS", "REASON")
    print_table(f"Service {document['service']}", columns, map(_port_cells, document["ports"]))
    _print_notes(document)


@app.command("can-reach")
def show_servers(
    pod: Annotated[str, typer.Argument(metavar=POD, help="A pod; of manifests also a workload.")],
    directory: Manifests = None,
    state: State = DEFAULT_STATE,
    output: Format = Output.TEXT,
) -> None:
    """Show the pods and Services to which a pod may connect, and those that refuse it, with the policies.

    With manifests it needs no root, no kernel and no cluster.
    """
    document = _answer(ReachQuery(pod=_name(pod, POD)), directory, state)
    if output is Output.JSON:
        print_json(document)
        return
    columns = ("PODS", "PORTS", "SERVICES", "VERDICT", "REASON")
    title = f"{document['pod']}, service account {document['serviceAccount']}"
    print_table(title, columns, map(_target_cells, document["targets"]))
    _print_notes(document)


def _name(text: str, form: str) -> tuple[str, str]:
    try:
        return parse_name(text, form)
    except QueryError as error:
        fail(str(error), Exit.USAGE)


def _answer(query: ReachQuery, directory: Path | None, state: Path) -> dict[str, Any]:
    """The answer by manifests, with a note about what cannot be used of them; without any, the answer of the agent."""
    try:
        if directory is None:
            return dict(get(state / STATUS_SOCKET, query.path()))
        manifests = read(directory)
        answer = query.answer(ManifestReach(Servers(manifests, parsed(directory))))
    except (SourceError, QueryError) as error:
        fail(str(error), Exit.USAGE)
    except NoAgentError as error:
        fail(str(error))
    document = answer.document(answer.rows)
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
