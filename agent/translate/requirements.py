"""What the policies of a backend's endpoints ask of clients of this node's waypoint."""

from collections.abc import Iterable
from functools import partial

from agent.ir.http import BackendPort, EndpointAddress
from agent.ir.requirements import UNKNOWN, AuditedRequirements, Requirements, requirements
from agent.store.store import TrackedView
from agent.translate.guarded import audit_at, guarded_at
from agent.translate.policies import has_policies


def backend_requirements(view: TrackedView, endpoints: Iterable[EndpointAddress]) -> Requirements:
    """The requirements of endpoints, by their addresses and target ports; none where no pod has policies."""
    if not has_policies(view):
        return ()
    found = {item for address, port in endpoints for item in _requirements(view, address, port)}
    return tuple(sorted(found))


def backend_audits(
    view: TrackedView, backend: BackendPort, endpoints: Iterable[EndpointAddress]
) -> tuple[AuditedRequirements, ...]:
    """What audited policies of endpoints would require, as above."""
    if not has_policies(view):
        return ()
    found: set[AuditedRequirements] = set()
    for address, port in endpoints:
        audit = view.once(("audit", backend.key, address), partial(audit_at, view, backend.key, address))
        if audit is not None:
            found.add(AuditedRequirements(audit.audited, requirements(audit.policies, port)))
    return tuple(sorted(found))


def _requirements(view: TrackedView, address: str, port: int) -> Requirements:
    """Those of one endpoint. No client may connect where its node enforces policies that this node does not have."""
    found = view.once(("guarded", address), lambda: guarded_at(view, address))
    if found is None:
        return ()
    if not found.current:
        return (UNKNOWN,)
    # Policies can have a thousand sources, and a backend thousands of endpoints.
    generations = tuple((policy.key, policy.generation) for policy in found.policies)
    return view.once(("requirements", generations, port), lambda: requirements(found.policies, port))
