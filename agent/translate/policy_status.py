"""The status of an AuthorizationPolicy, with the conditions of GEP-713."""

from agent.ir.plan import Condition, Output, ParentStatus
from agent.model.authorization import AUDIT, AuthorizationPolicy, UndecodableAuthorizationPolicy
from agent.model.meta import Key
from agent.model.routes import ParentReference
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import policy_errors
from agent.translate.policy_service import closed_ports, service_error

ACCEPTED, INVALID = "Accepted", "Invalid"


def translate_policy_status(view: TrackedView, key: Key) -> Output:
    """The status of one policy, with its namespace as the ancestor: the controller replaces it by the XMesh, where
    there is one.
    """
    policy = view.get(AuthorizationPolicy, key.namespace, key.name)
    undecodable = view.get(UndecodableAuthorizationPolicy, key.namespace, key.name)
    if undecodable is not None:
        condition = _invalid(undecodable, policy)
    elif policy is not None:
        condition = _condition(view, policy)
    else:
        return Output()
    return Output(statuses={key: (ParentStatus(ParentReference(key.namespace, "", "Namespace"), (condition,)),)})


def _condition(view: TrackedView, policy: AuthorizationPolicy) -> Condition:
    """A policy that selects no pod is accepted too: it selects pods that are created later. One for a Service that no
    request can go through is not.
    """
    trust_domain = mesh_parameters(view).spec.trust_domain
    generation = policy.metadata.generation
    parts = ["enforced on the nodes of the pods that it selects"]
    for key in policy.services:
        reason, message = service_error(view, key)
        if reason:
            return Condition("Accepted", False, reason, message, generation)
        parts = ["enforced by the waypoints of its clients; no other client connects to the pods of the Service"]
        parts += closed_ports(view, key)
    if policy.is_audited:
        where = " of requests that go through the waypoint" if policy.is_application else ""
        parts = [f"{AUDIT}: not enforced; what it would decide{where} is counted in weft_authz_total"]
    if not policy.spec.rules:
        parts.append("without rules it allows no client")
    parts += [f"{error.field}: {error.reason}: {error.message}" for error in policy_errors(policy, trust_domain)]
    return Condition("Accepted", True, ACCEPTED, "; ".join(parts), generation)


def _invalid(undecodable: UndecodableAuthorizationPolicy, kept: AuthorizationPolicy | None) -> Condition:
    """Of a policy that the API server accepted and weft cannot decode."""
    pods = "the pods that it selects" if undecodable.selectors is not None else "every pod of its namespace"
    parts = [f"{undecodable.field}: {undecodable.message}"]
    if kept is not None:
        parts.append(f"generation {kept.metadata.generation}, the last that could be read, stays in force")
    parts.append(f"on nodes that have not read an earlier generation no client may connect to {pods}")
    message = "; ".join(parts)
    return Condition("Accepted", False, INVALID, message, undecodable.generation)
