"""`weft status`: show the agent's state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.agent_client import NoAgentError, get
from agent.cli.encryption import print_encryption, prove
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.settings import DEFAULT_STATE, STATUS_SOCKET


def status(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
    prove_encryption: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=1, help="Instead: count plain frames between pods on the node's uplinks."),
    ] = None,
) -> None:
    """Show enrolled pods, frontends, Routes with their conditions, the waypoint, and drift.

    Exits with 0 when everything is as desired; with 3 when something is pending, stale, drifted, rejected, invalid or
    met an internal error, when the node cannot encrypt as it should, or when the network namespace helper does not
    answer; with 4 when no agent answers. With --prove-encryption: with 3 when frames were plain, or a link went down;
    with 4 when frames could not be counted.
    """
    if prove_encryption is not None:
        prove(state, prove_encryption, output)
    try:
        report = get(state / STATUS_SOCKET, "/status")
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    if output is Output.JSON:
        print_json(report)
    else:
        _print(report)
    waypoint = report["waypoint"]
    wrong = (report["drift"], waypoint["drift"], waypoint["rejected"], report["meshParameters"]["problem"])
    encryption = report["encryption"]["unsupported"], report["encryption"]["error"]
    found = (*wrong, report["problems"], report["failures"], report["internalErrors"], report["netnsHelper"]["error"])
    if not report["ready"] or report["source"]["stale"] or any((*found, *encryption)):
        raise SystemExit(int(Exit.NOT_AS_DESIRED))


def _print(report: dict[str, Any]) -> None:
    state = "ready" if report["ready"] else "synced, not yet ready" if report["synced"] else "waiting for its source"
    state += ", reconciling" if report["reconciling"] else ""
    print_line(f" on {report['node']}: {state}; drift at the last audit: {report['drift']}", heading="agent")
    print_line(f" {_source(report['source'])}", heading="source")
    print_line(f" Linux {report['kernel']['release']}{_missing(report['kernel'])}", heading="kernel")
    helper = report["netnsHelper"]
    if helper["error"]:
        waiting = helper["podsWithoutAddress"]
        print_line(f" {helper['error']}; new pods without an address yet: {waiting}", heading="helper")
    waypoint = report["waypoint"]
    health = "lost" if waypoint["lost"] else "connected" if waypoint["connected"] else "not connected"
    print_line(f" {_joined(waypoint['addresses'])}: {health}{_others(waypoint)}", heading="waypoint")
    _print_parameters(report["meshParameters"])
    print_encryption(report["encryption"])
    _print_tables(report)
    _print_errors(report)


def _print_parameters(parameters: dict[str, Any]) -> None:
    """The settings of the mesh, and why they are not those of the object that it names."""
    source = f"MeshParameters {parameters['name']}" if parameters["name"] else "no MeshParameters"
    exempt = f", exempt: {_joined(parameters['exemptNamespaces'])}" if parameters["exemptNamespaces"] else ""
    default = f"default for pods without policies: {parameters['default']}{exempt}"
    print_line(f" {source}; {default}; trust domain {parameters['trustDomain'] or 'none'}", heading="mesh")
    if parameters["problem"]:
        print_line(f" {parameters['problem']}; meanwhile these are in force", heading="mesh")


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
    print_table(
        "protected pods",
        ("POD", "POLICIES", "GUARD"),
        ((p["pod"], ", ".join(p["policies"]), p["guard"]) for p in report["protectedPods"]),
    )
    print_table(
        "audited pods: these policies are not enforced",
        ("POD", "POLICIES", "PROGRAM"),
        ((p["pod"], ", ".join(p["policies"]), p["guard"]) for p in report["auditedPods"]),
    )
    print_table(
        "audited services: these policies about requests are not enforced",
        ("SERVICE", "POLICY"),
        report["auditedServices"],
    )
    print_table("guards", ("WAYPOINT", "STATE"), waypoint["guards"].items())
    print_table("rejected by Envoy", ("RESOURCE", "REASON"), waypoint["rejected"].items())
    print_table("not served as acknowledged", ("",), ((line,) for line in waypoint["drift"]))
    print_table("routes", ("ROUTE", "PARENT", "CONDITIONS"), _routes(report["routes"]))
    print_table(
        "ineffective routes",
        ("CLIENTS", "ROUTES"),
        ((one["clients"], ", ".join(one["routes"])) for one in report["ineffectiveRoutes"]),
    )


def _print_errors(report: dict[str, Any]) -> None:
    print_table(
        "missing kernel features",
        ("FEATURE", "SINCE LINUX", "WITHOUT IT"),
        ((one["feature"], one["since"], one["without"]) for one in report["kernel"]["missing"]),
    )
    ignored = report["source"].get("ignored", {})
    print_table("ignored kinds", ("KIND", "DOCUMENTS"), ignored.items())
    for title in ("problems", "warnings"):
        print_table(title, ("",), ((line,) for line in report[title]))
    print_table(
        "internal errors",
        ("PART", "OBJECT", "ERROR"),
        ((error["part"], error["object"], error["error"]) for error in report["internalErrors"]),
    )
    print_table("does not fit", ("OBJECT", "REASON"), report["failures"].items())


def _missing(kernel: dict[str, Any]) -> str:
    """The names of kernel features that are missing."""
    names = ", ".join(one["feature"] for one in kernel["missing"])
    return f"; without {names}" if names else ", with all features that weft uses"


def _mode(pod: dict[str, Any]) -> str:
    """The pod's mode, or `Unsupported` if it cannot be enrolled."""
    if not pod["supported"]:
        return "Unsupported"
    return "l4 only" if pod["l4Only"] else str(pod["mode"])


def _others(waypoint: dict[str, Any]) -> str:
    """The standby Envoy and draining Envoys."""
    standby = f"; standby {_joined(waypoint['standby'])}" if waypoint["standby"] else ""
    return standby + "".join(f"; {_draining(envoy)}" for envoy in waypoint["draining"])


def _draining(envoy: dict[str, Any]) -> str:
    """An Envoy that drains, with its connections, or that has drained."""
    state = "drained" if envoy["drained"] else f"draining, connections: {_connections(envoy)}"
    return f"{_joined(envoy['addresses'])} {state}"


def _joined(addresses: Sequence[str]) -> str:
    return ", ".join(addresses) or "none"


def _connections(envoy: dict[str, Any]) -> str:
    return "?" if envoy["connections"] is None else str(envoy["connections"])


def _source(source: dict[str, Any]) -> str:
    """The agent's source, and what is missing in it."""
    if source["kind"] == "manifests":
        return f"manifests in {source['directory']}"
    bundles = ", ".join(f"{found['version']} ({found['channel']})" for found in source["gatewayApi"]) or "not installed"
    missing = f"; waiting for {', '.join(source['missing'])}" if source["missing"] else ""
    state = f"stale: {source['stale']}" if source["stale"] else "watching"
    left_out = source["accounts"]["leftOut"]
    unknown = f"; pods of other nodes not watched, accounts: {', '.join(left_out)}" if left_out else ""
    return f"{source['server']}: {state}; Gateway API {bundles}{missing}{unknown}"


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
