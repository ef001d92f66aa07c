"""`weft status`: what the agent knows, wants and has done."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.ask import NoAgentError, ask
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.settings import DEFAULT_STATE, STATUS_SOCKET


def status(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Show enrolled pods, frontends, routes with their conditions, the waypoint, and drift.

    Exits with 0 when everything is as desired, 3 when something is pending, stale, drifted, could not be used or met an
    internal error, 4 when no agent answers.
    """
    try:
        report = ask(state / STATUS_SOCKET, "/status")
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    if output is Output.JSON:
        print_json(report)
    else:
        _print(report)
    waypoint = report["waypoint"]
    wrong = (report["drift"], waypoint["drift"], waypoint["rejected"])
    found = (*wrong, report["problems"], report["failures"], report["errors"])
    if not report["ready"] or report["source"]["stale"] or any(found):
        raise SystemExit(int(Exit.NOT_AS_DESIRED))


def _print(report: dict[str, Any]) -> None:
    state = "ready" if report["ready"] else "synced, not yet ready" if report["synced"] else "waiting for its sources"
    state += ", reconciling" if report["reconciling"] else ""
    print_line(f" on {report['node']}: {state}; drift at the last audit: {report['drift']}", heading="agent")
    print_line(f" {_source(report['source'])}", heading="source")
    print_line(f" Linux {report['kernel']['release']}{_missing(report['kernel'])}", heading="kernel")
    waypoint = report["waypoint"]
    health = "lost" if waypoint["lost"] else "connected" if waypoint["connected"] else "not connected"
    print_line(f" {_joined(waypoint['addresses'])}: {health}{_others(waypoint)}", heading="waypoint")
    _print_tables(report)
    _print_errors(report)


def _print_tables(report: dict[str, Any]) -> None:
    waypoint = report["waypoint"]
    print_table(
        "pods",
        ("POD", "MODE", "ADDRESSES", "CGROUP"),
        ((p["pod"], _mode(p), ", ".join(p["addresses"]), p["cgroup"]) for p in report["pods"]),
    )
    print_table(
        "frontends",
        ("FRONTEND", "SERVICE", "L4 CLIENTS", "L7 CLIENTS", "BACKENDS"),
        ((f["frontend"], f["service"], f["l4"], f["l7"], _shares(f["backends"])) for f in report["frontends"]),
    )
    print_table(
        "listeners", ("LISTENER", "PORT", "STATE"), ((x["name"], x["port"], x["state"]) for x in waypoint["listeners"])
    )
    print_table("guards", ("WAYPOINT", "STATE"), waypoint["guards"].items())
    print_table("refused by Envoy", ("RESOURCE", "REASON"), waypoint["rejected"].items())
    print_table("served other than acknowledged", ("",), ((line,) for line in waypoint["drift"]))
    print_table("routes", ("ROUTE", "PARENT", "CONDITIONS"), _routes(report["routes"]))
    print_table(
        "routes without effect",
        ("CLIENTS", "ROUTES"),
        ((one["clients"], ", ".join(one["routes"])) for one in report["ineffectiveRoutes"]),
    )


def _print_errors(report: dict[str, Any]) -> None:
    print_table(
        "kernel features that are missing",
        ("FEATURE", "SINCE LINUX", "WITHOUT IT"),
        ((one["feature"], one["since"], one["without"]) for one in report["kernel"]["missing"]),
    )
    unread = report["source"].get("unread", {})
    print_table("kinds that are not read", ("KIND", "DOCUMENTS"), unread.items())
    for title in ("problems", "warnings"):
        print_table(title, ("",), ((line,) for line in report[title]))
    print_table(
        "internal errors",
        ("PART", "OBJECT", "ERROR"),
        ((error["part"], error["object"], error["error"]) for error in report["errors"]),
    )
    print_table("does not fit", ("OBJECT", "REASON"), report["failures"].items())


def _missing(kernel: dict[str, Any]) -> str:
    """The names of what weft does without."""
    names = ", ".join(one["feature"] for one in kernel["missing"])
    return f"; without {names}" if names else ", with every feature that weft uses"


def _mode(pod: dict[str, Any]) -> str:
    """What the pod is, or that it cannot be what it is to be."""
    if not pod["supported"]:
        return "Unsupported"
    return "l4 only" if pod["l4Only"] else str(pod["mode"])


def _others(waypoint: dict[str, Any]) -> str:
    """Envoys beside the one that serves: one that comes, those that go."""
    standby = f"; {_joined(waypoint['standby'])} is to take over" if waypoint["standby"] else ""
    leaving = (
        f"; {_joined(envoy['addresses'])} {'has drained' if envoy['drained'] else f'drains, {_left(envoy)} connected'}"
        for envoy in waypoint["draining"]
    )
    return standby + "".join(leaving)


def _joined(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) or "none"


def _left(envoy: dict[str, Any]) -> str:
    return "?" if envoy["connections"] is None else str(envoy["connections"])


def _source(source: dict[str, Any]) -> str:
    """Where the agent learns what exists, and what of it is not there."""
    if source["kind"] == "manifests":
        return f"manifests in {source['directory']}"
    bundles = ", ".join(f"{found['version']} ({found['channel']})" for found in source["gatewayApi"]) or "not installed"
    missing = f"; waiting for {', '.join(source['missing'])}" if source["missing"] else ""
    state = f"stale: {source['stale']}" if source["stale"] else "followed"
    return f"{source['server']}: {state}; Gateway API {bundles}{missing}"


def _shares(backends: list[dict[str, Any]]) -> str:
    return ", ".join(f"{b['backend']} {b['share']:.1%}" for b in backends) or "none"


def _routes(routes: list[dict[str, Any]]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (
            f"{route['kind']} {route['namespace']}/{route['name']}",
            parent["parent"],
            tuple(f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in parent["conditions"]),
        )
        for route in routes
        for parent in route["parents"]
    ]
