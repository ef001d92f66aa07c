"""`weft tables`: decode the kernel's maps, and compare them with the desired state."""

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.agent_client import NoAgentError, get
from agent.cli.output import Exit, Output, fail, print_json, print_table
from agent.datapath import authorization_rows
from agent.datapath.authorization_rows import AuthorizationRows
from agent.datapath.frontends import Installed, read
from agent.explain.render import action_text, backends
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName
from agent.ir.tables import FrontendKey, PodRow, address_text
from agent.kernel.maps import open_kernel
from agent.settings import DEFAULT_STATE, PINS, STATUS_SOCKET


def tables(
    state: Annotated[Path, typer.Option(help="The agent's state folder.")] = DEFAULT_STATE,
    output: Annotated[Output, typer.Option("-o", "--output", help="text or json.")] = Output.TEXT,
) -> None:
    """Show the kernel's maps, read from the pins. Names come from the agent, if one answers.

    Exits with 3 when the running agent desires something else, 1 when nothing is loaded.
    """
    try:
        kernel = open_kernel(state / PINS)
    except OSError as error:
        fail(f"nothing is loaded at {state / PINS}: {error}")
    try:
        desired = get(state / STATUS_SOCKET, "/status")
    except NoAgentError:
        desired = None
    found = document(kernel.pods.load(), read(kernel), desired)
    found["clients"] = sorted(map(address_text, kernel.clients.load()))
    found |= _authorization(authorization_rows.read(kernel))
    found["counters"] = {reason.name.lower(): count for reason, count in kernel.counters().items()}
    if output is Output.JSON:
        print_json(found)
    else:
        _print(found)
    if any(row["desired"] is False for row in (*found["pods"], *found["frontends"])):
        raise SystemExit(int(Exit.NOT_AS_DESIRED))


def document(
    pods: dict[int, PodRow], frontends: dict[FrontendKey, Installed], desired: dict[str, Any] | None
) -> dict[str, Any]:
    """Both maps, each row with its name and whether the agent desires it so (null: no agent answers)."""
    names = {0: ""} | {name_id(space): space for space in _namespaces(desired)}
    wanted_pods = {pod["cgroup"]: pod for pod in desired["pods"]} if desired else None
    wanted = {item["frontend"]: item for item in desired["frontends"]} if desired else None
    return {
        "pods": [_pod(cgroup, row, names, wanted_pods) for cgroup, row in sorted(pods.items())],
        "frontends": [_frontend(key, item, names, wanted) for key, item in sorted(frontends.items())],
    }


def _authorization(rows: AuthorizationRows) -> dict[str, Any]:
    """The tables of authorization. Identities are numbers: they are hashes of names."""
    servers = sorted((address_text(address), number) for address, number in rows.servers.items())
    peers = sorted((address_text(address), row) for address, row in rows.peers.items())
    return {
        "servers": [
            {
                "address": address,
                "policySet": f"{number:016x}",
                "grants": [
                    {"identity": f"{grant.identity:016x}", "port": grant.port}
                    for grant in sorted(rows.grants.get(number, ()))
                ],
            }
            for address, number in servers
        ],
        "peers": [
            {"address": address, "account": f"{row.account_id:016x}", "namespace": f"{row.namespace_id:016x}"}
            for address, row in peers
        ],
    }


def _namespaces(desired: dict[str, Any] | None) -> set[str]:
    if desired is None:
        return set()
    pods = {pod["pod"].split("/")[0] for pod in desired["pods"]}
    return pods | {item["frontend"].partition("@")[2] for item in desired["frontends"]} - {""}


def _pod(cgroup: int, row: PodRow, names: dict[int, str], wanted: dict[int, Any] | None) -> dict[str, Any]:
    want = wanted.get(cgroup) if wanted is not None else None
    return {
        "cgroup": cgroup,
        "pod": want["pod"] if want else None,
        "namespace": names.get(row.namespace_id, hex(row.namespace_id)),
        "mode": row.mode.label,
        "consumerRoutes": bool(row.flags),
        "desired": None if wanted is None else want is not None and want["mode"] == row.mode.label,
    }


def _frontend(
    key: FrontendKey, item: Installed, names: dict[int, str], wanted: dict[str, Any] | None
) -> dict[str, Any]:
    consumer = names.get(key.namespace_id, hex(key.namespace_id))
    name = str(FrontendName(address_text(key.address), key.port, key.protocol, consumer))
    shares = backends(item.slots)
    want = wanted.get(name) if wanted is not None else None
    return {
        "frontend": name,
        "index": item.index,
        "l4": action_text(item.actions[0]),
        "l7": action_text(item.actions[1]),
        "waypointPort": item.service.waypoint_port or None,
        "base": item.base,
        "backends": shares,
        "desiredBackends": want["backends"] if want else None,
        "desired": None if wanted is None else want is not None and (not item.slots or want["backends"] == shares),
    }


def _print(found: dict[str, Any]) -> None:
    print_table(
        "weft_pods",
        ("CGROUP", "POD", "NAMESPACE", "MODE", "DESIRED"),
        ((p["cgroup"], p["pod"] or "?", p["namespace"], p["mode"], _mark(p["desired"])) for p in found["pods"]),
    )
    print_table(
        "weft_servers",
        ("ADDRESS", "POLICY SET", "GRANTS"),
        ((s["address"], s["policySet"], len(s["grants"])) for s in found["servers"]),
    )
    print_table(
        "weft_peers",
        ("ADDRESS", "ACCOUNT", "NAMESPACE"),
        ((p["address"], p["account"], p["namespace"]) for p in found["peers"]),
    )
    print_table(
        "weft_frontends",
        ("FRONTEND", "INDEX", "L4 CLIENTS", "L7 CLIENTS", "WAYPOINT PORT", "SLOTS", "DESIRED"),
        (
            (f["frontend"], f["index"], f["l4"], f["l7"], f["waypointPort"] or "", _slots(f), _mark(f["desired"]))
            for f in found["frontends"]
        ),
    )
    print_table("weft_clients", ("ADDRESS",), ((address,) for address in found["clients"]))
    print_table("decisions", ("REASON", "COUNT"), ((name, n) for name, n in found["counters"].items() if n))


def _slots(row: dict[str, Any]) -> str:
    shares = ", ".join(f"{b['backend']} {b['share']:.1%}" for b in row["backends"])
    return f"@{row['base']}: {shares}" if shares else ""


def _mark(desired: bool | None) -> str:
    return {True: "yes", False: "NO", None: "?"}[desired]
