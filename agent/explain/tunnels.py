"""Whether packets of a connection can go to the node of the pod that it reaches, by the agent's state of encryption."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

Document = dict[str, Any]

# What connect() returns when the node refuses its packets: prohibit routes answer by ICMP (tcp_v4_err, tcp_v6_err).
ERRORS = {4: "EHOSTUNREACH", 6: "EACCES"}
# Reasons of connections that go to the address that the client names.
_PASSED = frozenset({"not_enrolled", "no_frontend", "passed", "unknown_pod"})


class Refusals:
    """Where the node refuses packets of its pods, because mode Strict has no tunnel there. `encryption` is that of the
    agent's status.
    """

    def __init__(self, encryption: Mapping[str, Any]) -> None:
        self._rows: dict[tuple[int, int], dict[int, Document | None]] = defaultdict(dict)
        if encryption["mode"] != "Strict":
            return
        for text in encryption["podCIDRs"]:
            self._add(text, {"node": "", "reason": "no node has the address"})
        for node in encryption["nodes"]:
            why = node["unsupported"] or encryption["unsupported"] or "it has not answered yet"
            for text in node["podCIDRs"]:
                self._add(text, {"node": node["node"], "reason": why} if node["packets"] == "refused" else None)
        for text in encryption["ownCIDRs"]:
            self._add(text, None)

    def _add(self, text: str, row: Document | None) -> None:
        network = ip_network(text)
        self._rows[network.version, network.prefixlen][int(network.network_address)] = row

    def why(self, address: str) -> Document | None:
        """The node without a tunnel, empty where none has the address; the reason; the error of `connect()`. None where
        packets are not refused.
        """
        parsed = ip_address(address)
        lengths = sorted((length for version, length in self._rows if version == parsed.version), reverse=True)
        for length in lengths:
            rows, rest = self._rows[parsed.version, length], parsed.max_prefixlen - length
            if (first := int(parsed) >> rest << rest) in rows:
                row = rows[first]
                return row and row | {"errno": ERRORS[parsed.version]}
        return None


def with_tunnels(documents: Sequence[Document], status: Mapping[str, Any]) -> list[Document]:
    """The answers of `explain`, each outcome with why no tunnel leads to the pod that it reaches."""
    refusals = Refusals(status["encryption"])
    return [
        {**document, "outcomes": [_with_tunnel(outcome, document, refusals) for outcome in document["outcomes"]]}
        for document in documents
    ]


def _with_tunnel(outcome: Document, document: Document, refusals: Refusals) -> Document:
    named = document["destination"].rpartition("/")[0].rpartition(":")[0].strip("[]")
    address = outcome["address"] or (named if outcome["reason"] in _PASSED else None)
    return outcome | {"noTunnel": refusals.why(address) if address else None}
