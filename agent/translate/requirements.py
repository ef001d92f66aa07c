"""What the policies of a backend's endpoints ask of clients of this node's waypoint."""

from collections.abc import Iterable

from agent.ir.http import EndpointAddress
from agent.ir.requirements import UNKNOWN, Requirement, Requirements, requirement
from agent.store.store import TrackedView
from agent.translate.guarded import guarded_at
from agent.translate.policies import has_policies


def backend_requirements(view: TrackedView, endpoints: Iterable[EndpointAddress]) -> Requirements:
    """The requirements of endpoints, by their addresses and target ports; none where no pod has policies."""
    if not has_policies(view):
        return ()
    found = {_requirement(view, address, port) for address, port in endpoints}
    return tuple(sorted(item for item in found if item is not None))


def _requirement(view: TrackedView, address: str, port: int) -> Requirement | None:
    """Of one endpoint; None where every client may connect. No client may where its node enforces policies that this
    node does not have.
    """
    found = view.once(("guarded", address), lambda: guarded_at(view, address))
    if found is None:
        return None
    if not found.current:
        return UNKNOWN
    # Policies can have a thousand sources, and a backend thousands of endpoints.
    generations = tuple((policy.key, policy.generation) for policy in found.policies)
    return view.once(("requirement", generations, port), lambda: requirement(found.policies, port))
