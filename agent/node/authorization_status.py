"""Authorization in the document of `weft status`. Pure."""

from typing import Any

from agent.ir.authorization import ServerPlan, policy_index
from agent.model.parameters import KIND
from agent.node.authorization_controller import AuthorizationController
from agent.store.store import TrackedView
from agent.translate.parameters import parameters_in_force

Document = dict[str, Any]
UNATTENDED = "not attached yet"


def with_authorization(document: Document, controller: AuthorizationController, view: TrackedView) -> Document:
    """The document of `weft status` with the protected pods of this node, those at which policies are audited, and the
    MeshParameters in force.
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
        "destinationPolicies": {f"{policy_index(it):06x}": str(it) for it in controller.destination_policies},
        "meshParameters": _parameters(view),
        "failures": document["failures"] | controller.tables.rejected | controller.audited.rejected,
        "tables": document["tables"] | tables,
    }


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
