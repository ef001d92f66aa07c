"""`weft simulate`: simulate a pod's request with manifests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.output import Exit, Output, fail, print_json, print_line
from agent.cli.render import lines
from agent.explain.manifests import Manifests, read
from agent.explain.query import QueryError, TrafficQuery, parse_query
from agent.explain.simulation import simulate as simulated
from agent.kube.directory_source import SourceError
from agent.model.core import Pod
from agent.translate.options import Options


def simulate(
    method: Annotated[str, typer.Argument(help="GET, POST, …; ignored for tcp:// and udp://.")],
    url: Annotated[str, typer.Argument(help="http://, https://, tcp:// or udp://, to a Service's name or address.")],
    directory: Annotated[Path, typer.Option("-f", "--file", help="Manifests.")],
    pod: Annotated[str, typer.Option("--from", help="The client: NAMESPACE/POD.")],
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="NAME:VALUE; repeatable.")] = None,
    node: Annotated[str | None, typer.Option(help="The node's name. Default: the pod's node.")] = None,
    zone: Annotated[str, typer.Option(help="The node's zone, for endpoints with zone hints.")] = "",
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Simulate a pod's request: whether weft intercepts it, and which backends the kernel or the waypoint chooses from.

    All pods of the manifests are assumed to run on one node. Needs no root, no kernel and no cluster.
    """
    try:
        query = parse_query(pod, method, url, header or ())
        manifests = read(directory)
        options = Options(node if node is not None else _node_of(manifests, query), zone=zone)
        document = simulated(manifests, query, options)
    except (SourceError, QueryError) as error:
        fail(str(error), Exit.USAGE)
    if output is Output.JSON:
        print_json(document)
        return
    for name, text in _lines(document):
        print_line(text, heading=f"{name:<10}")


def _node_of(manifests: Manifests, query: TrafficQuery) -> str:
    found = manifests.objects.get(query.pod)
    return found.spec.node_name if isinstance(found, Pod) else ""


def _lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    client, to = document["client"], document["destination"]
    yield "client", f"{client['pod']}, mode {client['mode']}: {client['modeReason']}"
    address = f" at {to['address']}" if to["address"] else ""
    yield "to", f"{to['service'] or 'no Service'}, port {to['port']}/{to['protocol']}{address}"
    yield "path", f"{document['path']}: {document['reason']}"
    for item in document.get("services", ()):
        yield "service", f"{item['share']:6.1%}  {item['service']}"
    for item in document.get("backends", ()):
        yield "backend", f"{item['share']:6.1%}  {item['backend']}"
    if "affinitySeconds" in document:
        yield "affinity", f"a client keeps its backend for {document['affinitySeconds']} s"
    if "waypoint" in document:
        yield from lines(document["waypoint"])
    for note in document["notes"]:
        yield "note", note
