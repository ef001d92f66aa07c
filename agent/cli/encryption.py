"""Encryption between nodes, as `weft status` shows it."""

from pathlib import Path
from typing import Any, NoReturn

from agent.cli.agent_client import NoAgentError, get
from agent.cli.output import Exit, Output, fail, print_json, print_line, print_table
from agent.settings import STATUS_SOCKET

# Of the agent's answer, beside the time for which it counts.
_PATIENCE = 30


def prove(state: Path, seconds: int, output: Output) -> NoReturn:
    """Show the frames between pods that pass the node's uplinks for so long, and exit: with 0 where none is plain."""
    try:
        found = get(state / STATUS_SOCKET, f"/encryption-proof?seconds={seconds}", seconds + _PATIENCE)
    except NoAgentError as error:
        fail(str(error), Exit.NO_AGENT)
    if output is Output.JSON:
        print_json(found)
    else:
        _print_proof(found)
    broken = found["plain"] or any(link["error"] for link in found["links"])
    raise SystemExit(int(Exit.NOT_AS_DESIRED if broken else 0))


def _print_proof(found: dict[str, Any]) -> None:
    names = ", ".join(link["link"] for link in found["links"])
    print_line(f" between nodes, {found['seconds']} s at {names}", heading="frames")
    if not found["plain"] and not found["encrypted"]:
        print_line("none of pods were sent to another node, or received: this shows nothing")
    print_table(
        "by link",
        ("LINK", "PLAIN", "ENCRYPTED", "OUTSIDE SCOPE", "ERROR"),
        ((it["link"], it["plain"], it["encrypted"], it["outsideScope"], it["error"]) for it in found["links"]),
    )
    print_table(
        "plain frames between pods",
        ("LINK", "DIRECTION", "FROM", "TO", "PROTOCOL", "FRAMES SEEN"),
        (
            (
                *(flow["link"], flow["direction"], _end(flow["source"]), _end(flow["destination"])),
                *(flow["protocol"], flow["framesSeen"]),
            )
            for flow in found["flows"]
        ),
    )
    if found["framesOfOtherFlows"]:
        print_line(f"frames of flows that are not shown: {found['framesOfOtherFlows']}")
    if found["nodeAddressesLeftOut"]:
        print_line(f"addresses of nodes that are not looked for outside scope: {found['nodeAddressesLeftOut']}")


def _end(end: dict[str, str]) -> str:
    """A pod of this node by its name; one of another node by the name of that."""
    name = end["pod"] or (f"a pod of {end['node']}" if end["node"] else "")
    return f"{name} ({end['address']})" if name else end["address"]


def print_encryption(encryption: dict[str, Any]) -> None:
    """The tunnels to the other nodes. Nothing in mode Off, where there are none."""
    if encryption["mode"] == "Off":
        return
    why = "; ".join(f"{title}: {text}" for title in ("Unsupported", "error") if (text := encryption[title.lower()]))
    print_line(
        f" {encryption['mode']}, key generation {encryption['keyGeneration']}{why and '; ' + why}", heading="encryption"
    )
    print_table(
        "other nodes",
        ("NODE", "PACKETS", "KEY GENERATION", "THEIRS", "HANDSHAKE", "RECEIVED", "SENT", "UNSUPPORTED"),
        (
            (
                *(
                    node["node"],
                    node["packets"],
                    node["keyGeneration"] or "",
                    ", ".join(map(str, node["theirGenerations"])),
                ),
                "" if node["handshakeSeconds"] is None else f"{node['handshakeSeconds']:.0f} s ago",
                *(node["received"], node["sent"], node["unsupported"]),
            )
            for node in encryption["nodes"]
        ),
    )
