"""Whether the servers that a connection can reach admit the client, by the kernel's tables of authorization."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.datapath.authorization_rows import AuthorizationRows, read, read_audited
from agent.datapath.driver import AuthorizationTables
from agent.ir.tables import address_bytes, packed_family

Document = dict[str, Any]


def with_admissions(
    documents: Sequence[Document], status: Mapping[str, Any], tables: AuthorizationTables
) -> list[Document]:
    """The answers of `explain`, each outcome with the admission by the pod that it reaches: None where no policy of
    this node selects it; and with the `audit`: what it would be if audited policies were enforced too. `status` is the
    agent's. Raises `OSError`.
    """
    protected, audited = (
        {pod["pod"]: pod["policies"] for pod in status[pods]} for pods in ("protectedPods", "auditedPods")
    )
    # On most nodes nothing has to be read: there can be 100 000 peers.
    rows = read(tables) if protected or audited else AuthorizationRows({}, {}, {})
    tried = read_audited(tables, rows) if audited else rows
    return [
        {
            **document,
            "outcomes": [
                outcome
                | {
                    "admission": _admission(outcome, document, protected, rows),
                    "audit": _admission(outcome, document, audited, tried),
                }
                for outcome in document["outcomes"]
            ],
        }
        for document in documents
    ]


def _admission(
    outcome: Document, document: Document, policies: Mapping[str, list[str]], rows: AuthorizationRows
) -> Document | None:
    if outcome["pod"] not in policies:
        return None
    server, clients = address_bytes(outcome["address"]), document["client"]["addresses"]
    # A client connects from its address in the family of the server's.
    client = next((item for item in map(address_bytes, clients) if packed_family(item) is packed_family(server)), None)
    itself = outcome["pod"] == document["pod"]
    admitted = itself or (server in rows.servers and rows.admits(server, client, outcome["port"]))
    return {"admitted": admitted, "policies": policies[outcome["pod"]]}
