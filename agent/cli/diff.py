"""`weft diff`: compare what two directories of manifests do."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.client_text import client_text, ports_text
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.explain.diff import Change, compare
from agent.explain.manifests import read
from agent.explain.reach_changes import ReachChange, compare_reach
from agent.explain.servers import Servers
from agent.kube.directory_source import SourceError, parsed


def diff(
    old: Annotated[Path, typer.Argument(help="The current manifests.")],
    new: Annotated[Path, typer.Argument(help="The changed manifests.")],
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Show what would change between two directories of manifests: paths, rules and weights by client namespace, and
    which clients may connect to which pods.

    Needs no root, no kernel and no cluster. Exits with 0 when nothing would change, 1 when something would.
    """
    try:
        before, after = read(old), read(new)
    except SourceError as error:
        fail(str(error), Exit.USAGE)
    found = compare(before, after)
    reach = compare_reach(*(Servers(it, parsed(folder)) for folder, it in ((old, before), (new, after))))
    unused = {str(folder): len(it.problems) for folder, it in ((old, before), (new, after)) if it.problems}
    if output is Output.JSON:
        print_json(
            {"changes": [asdict(item) for item in found], "reach": [asdict(item) for item in reach], "problems": unused}
        )
    else:
        print_table("changes", ("SERVICE", "CLIENTS", "WHAT", "OLD", "NEW"), map(_change_cells, found))
        print_table("reach", ("PODS", "PORTS", "SERVICES", "CLIENTS", "OLD", "NEW"), map(_reach_cells, reach))
        for folder, count in unused.items():
            print_line(f"{folder}: {count} objects or documents cannot be used: see weft lint")
    if found or reach:
        raise SystemExit(int(Exit.FAILED))


def _change_cells(item: Change) -> tuple[object, ...]:
    service, what = f"{item.service}:{item.port}/{item.protocol}", f"{item.what} {item.rule}".strip()
    return service, item.clients, what, item.old or "none", item.new or "none"


def _reach_cells(item: ReachChange) -> tuple[object, ...]:
    clients = tuple(map(client_text, item.clients))
    unchanged = tuple(f"but {client_text(client)}" for client in item.unchanged)
    return item.pods, ports_text(item.ports, item.but), item.services, (*clients, *unchanged), item.old, item.new
