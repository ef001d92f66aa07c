"""Whether the servers that a connection can reach admit the client, by the kernel's tables of authorization."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.datapath.authorization import AuthorizationRows, read
from agent.datapath.driver import AuthorizationTables
from agent.ir.tables import address_bytes, packed_family

Document = dict[str, Any]


def with_admissions(
    documents: Sequence[Document], status: Mapping[str, Any], tables: AuthorizationTables
) -> list[Document]:
    """The answers of `explain`, each outcome with the admission by the pod that it reaches: None where no policy of
    this node selects it. `status` is the agent's. Raises `OSError`.
    """
    policies = {pod["pod"]: pod["policies"] for pod in status["protectedPods"]}
    # On most nodes nothing has to be read: there can be 100 000 peers.
    rows = read(tables) if policies else AuthorizationRows({}, {}, {})
    return [
        {
            **document,
            "outcomes": [_with_admission(outcome, document, policies, rows) for outcome in document["outcomes"]],
        }
        for document in documents
    ]


def _with_admission(
    outcome: Document, document: Document, policies: Mapping[str, list[str]], rows: AuthorizationRows
) -> Document:
    if outcome["pod"] not in policies:
        return outcome | {"admission": None}
    server, clients = address_bytes(outcome["address"]), document["client"]["addresses"]
    # A client connects from its address in the family of the server's.
    client = next((item for item in map(address_bytes, clients) if packed_family(item) is packed_family(server)), None)
    itself = outcome["pod"] == document["pod"]
    admitted = itself or (server in rows.servers and rows.admits(server, client, outcome["port"]))
    return outcome | {"admission": {"admitted": admitted, "policies": policies[outcome["pod"]]}}
