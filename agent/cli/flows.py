"""`weft flows`: show decisions of the kernel."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.agent_client import NoAgentError, get
from agent.cli.output import Exit, Output, fail, print_error, print_json_line, print_line
from agent.settings import DEFAULT_STATE, STATUS_SOCKET

POLL_SECONDS = 0.3
_STYLES = {"reject": "red", "failed": "red", "pass": "dim", "audit": "yellow"}
Event = dict[str, Any]


class Verdict(StrEnum):
    """The values of `--verdict`. `failed`: the kernel forwarded the connection, and it failed. `audit`: a policy that
    is not enforced would refuse it.
    """

    FORWARD = "forward"
    WAYPOINT = "waypoint"
    PASS = "pass"
    REJECT = "reject"
    FAILED = "failed"
    AUDIT = "audit"


def flows(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only clients in this namespace.")] = None,
    pod: Annotated[str | None, typer.Option(help="Only this client pod, or pods of this workload.")] = None,
    service: Annotated[str | None, typer.Option(help="Only this Service: NAMESPACE/NAME, or NAME.")] = None,
    verdict: Annotated[Verdict | None, typer.Option(help="Only this verdict.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Show the agent's buffered events, and exit.")] = False,
    output: Annotated[
        Output, typer.Option("-o", "--output", help="text, or json: a line for each event.")
    ] = Output.TEXT,
) -> None:
    """Show the kernel's decisions for enrolled pods, and failed connections, until interrupted.

    Under load the kernel emits only a part of the events. `weft top` counts all connections.
    """
    wanted = {"namespace": namespace, "verdict": verdict and verdict.value}
    try:
        for event in _events(state / STATUS_SOCKET, last):
            if "missed" in event or matches(event, wanted, pod, service):
                _show(event, output)
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    except (KeyboardInterrupt, BrokenPipeError):
        raise SystemExit(0) from None


def _events(socket: Path, last: bool) -> Iterator[Event]:
    """Events from now on, or those in the agent's buffer. Raises `NoAgentError`."""
    if last:
        yield from get(socket, "/events?after=0")["events"]
        return
    before = get(socket, "/events")
    while True:
        time.sleep(POLL_SECONDS)
        page = get(socket, f"/events?after={before['next']}")
        missed = page["missed"] + page["lost"] - before["lost"]
        if missed > 0:  # negative: the kernel counts from 0 in maps of a new layout
            yield {"missed": missed}
        yield from page["events"]
        before = page


def matches(event: Event, wanted: dict[str, str | None], pod: str | None, service: str | None) -> bool:
    """Whether an event matches the filters of the command line."""
    if any(value is not None and event[name] != value for name, value in wanted.items()):
        return False
    if pod is not None and pod not in (event["pod"], event["workload"]):
        return False
    return service is None or service in (event["service"], (event["service"] or "").partition("/")[2])


def _show(event: Event, output: Output) -> None:
    if output is Output.JSON:
        print_json_line(event)
    elif "missed" in event:
        print_error(f"weft: {event['missed']} events are missing: the agent or the kernel dropped them")
    else:
        print_line(line(event), style=_STYLES.get(event["verdict"], ""))


def line(event: Event) -> str:
    """An event for people: `12:00:01.250 forward faces/face-1 → faces/smiley 10.96.0.1:80/TCP via 10.244.0.7:8080`."""
    client = f"{event['namespace']}/{event['pod']}" if event["pod"] else event["source"] or "unknown pod"
    target = f"{event['destination']}/{event['protocol']}"
    service = f"{event['service']} {target}" if event["service"] else target
    via = f" via {event['backend']}" if event["backend"] else ""
    plain = {"forward": "forwarded", "waypoint": "to_waypoint", "failed": "failed"}
    detail = event["policy"] or ("no tunnel" if event["reason"] == "no_tunnel" else "")
    by = f": {detail}" if detail else ""
    why = f" ({event['errno'] or event['reason'].replace('_', ' ')}{by})"
    suffix = "" if plain.get(event["verdict"]) == event["reason"] and not event["errno"] else why
    return f"{event['time'][11:23]} {event['verdict']:8} {client} → {service}{via}{suffix}"
