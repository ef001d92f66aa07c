"""Whether the waypoint refuses a client, by the policies of the backends of its request."""

from collections.abc import Iterable
from typing import Any

from agent.ir.identity import Identity
from agent.ir.request import Request
from agent.ir.requirements import AuditedRequirements, Requirement, unmet

FORBIDDEN = 403
UNKNOWN_POLICIES = "policies that this node does not know"

Document = dict[str, Any]


def verdict(requirements: Iterable[Requirement], client: Identity | None, request: Request | None) -> Document:
    """`policies`: all that decide; `refusedBy`: those that refuse the client, None where none does; `refusal`: what the
    request lacks, None where it is not the request. `request` is None for a connection whose bytes Envoy does not read.
    """
    found = list(requirements)
    refusing = unmet(found, client, request)
    return {
        "policies": [name for item in found for name in _names(item)],
        "refusedBy": _names(refusing) if refusing is not None else None,
        "refusal": (refusing.missed(client, request) or None) if refusing is not None else None,
    }


def audit(audits: Iterable[AuditedRequirements], client: Identity | None, request: Request) -> Document | None:
    """What audited policies would decide: `policies` are those that would refuse the request, else all; None without
    any.
    """
    found = list(audits)
    refusing = [item for item in found if unmet(item.requirements, client, request) is not None]
    names = sorted({str(key) for item in refusing or found for key in item.audited})
    return {"admitted": not refusing, "policies": names} if found else None


def _names(item: Requirement) -> list[str]:
    return list(map(str, item.policies)) or [UNKNOWN_POLICIES]
