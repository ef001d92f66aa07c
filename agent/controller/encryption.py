"""The condition of an XMesh that says whether nodes encrypt what MeshParameters ask for. Pure."""

from collections.abc import Mapping

from agent.ir.plan import Condition
from agent.model.parameters import MeshEncryption
from agent.model.weft_node import MAX_TEXT, Tunnels
from agent.telemetry.escape import escape

ENCRYPTED = "Encrypted"
NO_REPORT = "its agent reports no tunnels"
NO_KEY = "it has no key yet"
# The number of nodes that a message names with their reasons.
NAMED = 10


def encryption_condition(
    encryption: MeshEncryption, reported: Mapping[str, Tunnels | None], generation: int
) -> Condition | None:
    """The condition in an XMesh of this generation, by what the agent of each node reports; none in mode Off.

    True: each node that has an agent has a key, and no reason why it cannot encrypt.
    """
    if encryption.mode == "Off":
        return None
    lacking = {node: why for node, tunnels in sorted(reported.items()) if (why := _lacks(tunnels))}
    if not reported:
        return Condition(ENCRYPTED, False, "NoNodes", f"Mode {encryption.mode}: no node reports", generation)
    if not lacking:
        text = f"Mode {encryption.mode}: all {len(reported)} nodes that report have tunnels"
        return Condition(ENCRYPTED, True, "Encrypted", text, generation)
    named = "; ".join(f"{node}: {why}" for node, why in list(lacking.items())[:NAMED])
    more = f"; and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
    text = f"Mode {encryption.mode}: {len(lacking)} of {len(reported)} nodes do not encrypt: {named}{more}"
    return Condition(ENCRYPTED, False, "NodesNotEncrypted", text, generation)


def _lacks(tunnels: Tunnels | None) -> str:
    """Why a node does not encrypt; empty where it does."""
    if tunnels is None:
        return NO_REPORT
    if tunnels.unsupported:
        return escape(tunnels.unsupported)[:MAX_TEXT]
    return "" if tunnels.keys else NO_KEY
