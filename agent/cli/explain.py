"""`weft explain`: explain the route of a connection or request."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.agent_client import NoAgentError, get
from agent.cli.live import Attempt, new_request_id, request_id_headers, send_live
from agent.cli.output import Exit, Output, fail, print_json, print_line
from agent.cli.render import lines
from agent.explain.admission import with_admissions
from agent.explain.connection import ExplainError, parse
from agent.explain.connection import explain as answer
from agent.explain.query import QueryError, TrafficQuery
from agent.explain.trace import TraceRequest
from agent.explain.tunnels import with_tunnels
from agent.kernel.maps import open_kernel
from agent.model.parameters import KIND as PARAMETERS
from agent.settings import DEFAULT_STATE, PINS, STATUS_SOCKET


def explain(
    pod: Annotated[str, typer.Argument(metavar="NAMESPACE/POD", help="A pod of this node, or its Deployment.")],
    destination: Annotated[str, typer.Argument(metavar="HOST:PORT|URL", help="A Service's name or an address.")],
    udp: Annotated[bool, typer.Option("--udp", help="Explain a UDP socket.")] = False,
    path: Annotated[str, typer.Option(help="The path of an HTTP request to explain.")] = "",
    method: Annotated[str, typer.Option(help="The method of the HTTP request.")] = "",
    header: Annotated[list[str] | None, typer.Option("-H", "--header", help="NAME:VALUE; repeatable.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Send the request. Exit code 3: another route.")] = False,
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Explain a connection: whether the pod is enrolled, which Route applies, and which backends it can reach.

    It decides again with the kernel's own maps. A URL, or HOST:PORT with a path, method or header, is a request: the
    output then includes the waypoint's rule, filters and backends.
    """
    request_id = new_request_id() if live else ""
    headers = tuple(header or ())
    try:
        query = parse(
            pod, destination, udp, method or ("GET" if live else ""), path, (*headers, *request_id_headers(request_id))
        )
        found = _explain(state, query, request_id)
        if live:
            found = [
                {**found[0], "live": send_live(Attempt(query, headers, request_id), state, found[0])},
                *found[1:],
            ]
    except (ExplainError, QueryError, NoAgentError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"nothing is loaded at {state / PINS}: {error}")
    if output is Output.JSON:
        print_json(found)
    else:
        for document in found:
            _print(document)
    if live and found[0]["live"]["differences"]:
        raise SystemExit(int(Exit.NOT_AS_DESIRED))


def _explain(state: Path, query: TrafficQuery, request_id: str) -> list[dict[str, Any]]:
    """Explain with the pinned maps and the agent's state. The agent then waits for a request with this
    `x-request-id`.
    """
    socket = state / STATUS_SOCKET

    def evaluate_at_waypoint(frontend: str, query: TrafficQuery) -> dict[str, Any] | None:
        found: dict[str, Any] | None = get(socket, TraceRequest(frontend, query, request_id).path())["waypoint"]
        return found

    kernel = open_kernel(state / PINS)
    events, status = get(socket, "/events?after=0")["events"], get(socket, "/status")
    found = answer(kernel.encoded(), status, events, query, time.monotonic_ns(), evaluate_at_waypoint)
    return with_tunnels(with_admissions(found, status, kernel), status)


def _print(found: dict[str, Any]) -> None:
    service = f"  (Service {found['service']})" if found["service"] else ""
    print_line(f"{found['pod']} -> {found['destination']}{service}")
    client = found["client"]
    print_line(f"  pod        mode {client['mode'] or 'unknown to the kernel'}: {client['modeReason']}")
    if frontend := found["frontend"]:
        slots = f", {frontend['slots'][1]} slots from {frontend['slots'][0]}" if frontend["slots"] else ""
        print_line(
            f"  frontend   clients of {frontend['clients']}, index {frontend['index']}: {frontend['action']}{slots}"
        )
        if frontend["affinitySeconds"]:
            print_line(f"  affinity   ClientIP, {frontend['affinitySeconds']} s")
    for source in found["sources"]:
        print_line(f"  source     {source['object']}")
        for parent in source["parents"]:
            for condition in parent["conditions"]:
                text = f"{condition['type']} {condition['status']} ({condition['reason']}): {condition['message']}"
                print_line(f"             {parent['parent']}: {text}")
    _print_outcomes(found)
    waypoint = found["waypoint"]
    for name, text in lines(waypoint) if waypoint else ():
        print_line(f"  {name:<10} {text}")
    if waypoint and waypoint["warning"]:
        print_line(f"  note       {waypoint['warning']}")
    _print_live(found)
    for event in found["events"]:
        backend = f" {event['backend']}" if event["backend"] else ""
        print_line(f"  event      {event['time']} {event['reason']}{backend} {event['errno'] or ''}".rstrip())


def _print_outcomes(found: dict[str, Any]) -> None:
    for outcome in found["outcomes"]:
        print_line(f"  {outcome['share']:>8.2%}   {_target(outcome)}{outcome['message']}")
        if admission := outcome["admission"]:
            print_line(f"             {_admission(admission)}")
        if lacking := outcome["noTunnel"]:
            print_line(f"             {_no_tunnel(lacking)}")
        if audit := outcome["audit"]:
            names, would = ", ".join(audit["policies"]), "admit" if audit["admitted"] else "refuse"
            print_line(f"             audited, not enforced: AuthorizationPolicy {names} would {would} it")


def _admission(admission: dict[str, Any]) -> str:
    """What the policies of the pod that is reached say of the client."""
    names = ", ".join(admission["policies"])
    verdict = "admits it" if admission["admitted"] else "refuses it (ECONNREFUSED)"
    if names.startswith(f"{PARAMETERS} "):
        return f"the pod {verdict}, by the default of {names}, because no policy selects it"
    return f"the pod {verdict}, by AuthorizationPolicy {names}"


def _no_tunnel(lacking: dict[str, str]) -> str:
    """Why packets to the pod that is reached are refused."""
    node = f" to node {lacking['node']}" if lacking["node"] else ""
    return f"encryption is Strict, and there is no tunnel{node}: {lacking['reason']} ({lacking['errno']})"


def _print_live(found: dict[str, Any]) -> None:
    if "live" not in found:
        return
    live = found["live"]
    who = (
        f"{live['endpoint']} {live['pod'] or ''}".rstrip() if live["endpoint"] else f"the waypoint ({live['details']})"
    )
    print_line(f"  live       {live['status']} from {who}, by rule {live['rule']}, in {live['milliseconds']} ms")
    for difference in live["differences"] or ["as predicted"]:
        print_line(f"             {difference}")


def _target(outcome: dict[str, Any]) -> str:
    if outcome["address"] is None:
        return ""
    pod = f" {outcome['pod']}" if outcome["pod"] else ""
    return f"{outcome['address']}:{outcome['port']}{pod}: "
