"""`weft explain`: why a connection goes where it goes."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.ask import NoAgentError, ask
from agent.cli.output import Output, fail, print_json
from agent.explain import ExplainError, parse
from agent.explain import explain as answer
from agent.kernel.maps import open_kernel
from agent.settings import DEFAULT_STATE, PINS, STATUS_SOCKET


def explain(
    pod: Annotated[str, typer.Argument(metavar="NAMESPACE/POD", help="A pod of this node, or its Deployment.")],
    destination: Annotated[str, typer.Argument(metavar="HOST:PORT", help="An address, or a Service's name.")],
    udp: Annotated[bool, typer.Option("--udp", help="UDP rather than TCP.")] = False,
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Decide a connection again, on the kernel's own tables: in the mesh or not, by which Route, to whom."""
    try:
        question = parse(pod, destination, udp)
        tables = open_kernel(state / PINS).encoded()
        socket = state / STATUS_SOCKET
        events = ask(socket, "/events?after=0")["events"]
        found = answer(tables, ask(socket, "/status"), events, question, time.monotonic_ns())
    except (ExplainError, NoAgentError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"nothing is loaded at {state / PINS}: {error}")
    if output is Output.JSON:
        print_json(found)
        return
    for document in found:
        _print(document)


def _print(found: dict[str, Any]) -> None:
    service = f"  (Service {found['service']})" if found["service"] else ""
    print(f"{found['pod']} -> {found['destination']}{service}")
    client = found["client"]
    print(f"  pod        mode {client['mode'] or 'unknown to the kernel'}: {client['because']}")
    if frontend := found["frontend"]:
        slots = f", {frontend['slots'][1]} slots from {frontend['slots'][0]}" if frontend["slots"] else ""
        print(f"  frontend   {frontend['view']} view, index {frontend['index']}: {frontend['does']}{slots}")
        if frontend["affinitySeconds"]:
            print(f"  affinity   ClientIP, {frontend['affinitySeconds']} s")
    for maker in found["madeBy"]:
        print(f"  made by    {maker['object']}")
        for parent in maker["parents"]:
            for condition in parent["conditions"]:
                said = f"{condition['type']} {condition['status']} ({condition['reason']}): {condition['message']}"
                print(f"             {parent['parent']}: {said}")
    for outcome in found["outcomes"]:
        print(f"  {outcome['share']:>8.2%}   {_target(outcome)}{outcome['says']}")
    for event in found["seen"]:
        backend = f" {event['backend']}" if event["backend"] else ""
        print(f"  seen       {event['time']} {event['reason']}{backend} {event['errno'] or ''}".rstrip())


def _target(outcome: dict[str, Any]) -> str:
    if outcome["address"] is None:
        return ""
    pod = f" {outcome['pod']}" if outcome["pod"] else ""
    return f"{outcome['address']}:{outcome['port']}{pod}: "
