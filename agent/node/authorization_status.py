"""Authorization in the document of `weft status`. Pure."""

from collections.abc import Iterator
from typing import Any

from agent.ir.authorization import ServerPlan, policy_index
from agent.model.authorization import policy_key
from agent.model.parameters import KIND
from agent.node.authorization_controller import AuthorizationController
from agent.store.store import TrackedView
from agent.translate.parameters import parameters_in_force

Document = dict[str, Any]
UNATTENDED = "not attached yet"


def with_authorization(document: Document, controller: AuthorizationController, view: TrackedView) -> Document:
    """The document of `weft status` with the protected pods of this node, those at which policies are audited, the
    Services whose requests are, and the MeshParameters in force.
    """
    audited = sorted(controller.desired.audited.items(), key=lambda item: item[1].pod)
    servers = sorted(controller.desired.servers.items(), key=lambda item: item[1].pod)
    tables = {name: {"rows": rows, "capacity": capacity} for name, (rows, capacity) in controller.fill.items()}
    return document | {
        "reconciling": document["reconciling"] or controller.reconciling,
        "protectedPods": [_server(plan, controller.guards.states.get(cgroup, UNATTENDED)) for cgroup, plan in servers],
        "auditedPods": [
            _server(plan, controller.guards.audit_states.get(cgroup, UNATTENDED)) for cgroup, plan in audited
        ],
        "auditedServices": sorted(_audited_services(view)),
        "destinationPolicies": {f"{policy_index(it):06x}": str(it) for it in controller.destination_policies},
        "meshParameters": _parameters(view),
        "failures": document["failures"] | controller.tables.rejected | controller.audited.rejected,
        "tables": document["tables"] | tables,
    }


def _audited_services(view: TrackedView) -> Iterator[tuple[str, str]]:
    """Services and their audited policies about requests: waypoints audit by them."""
    for policy in view.policies():
        if policy.is_audited:
            yield from ((f"{key.namespace}/{key.name}", policy_key(policy).name) for key in policy.services)


def _server(plan: ServerPlan, guard: str) -> Document:
    """A pod without policies of its own has the MeshParameters in their place."""
    return {
        "pod": f"{plan.pod.namespace}/{plan.pod.name}",
        "policies": [str(policy) if policy.kind == KIND else policy.name for policy in plan.policies],
        "policySet": f"{plan.policy_set:016x}",
        "guard": guard,
    }


def _parameters(view: TrackedView) -> Document:
    """The parameters in force. `name` is None where there is no object; `problem` says why they are not those of the
    object that the mesh names.
    """
    parameters, problem = parameters_in_force(view)
    authorization = parameters.spec.authorization
    return {
        "name": parameters.metadata.name or None,
        "generation": parameters.metadata.generation,
        "trustDomain": parameters.spec.trust_domain,
        "default": authorization.default,
        "exemptNamespaces": list(authorization.exempt_namespaces),
        "problem": problem,
    }
