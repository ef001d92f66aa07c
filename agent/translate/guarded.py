"""What decides who may connect to the address of a protected pod, of this node or of another one."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from agent.ir.policy import Audit, GuardedAddress, Policy, ordered
from agent.model.authorization import KIND, AnyPolicy, policy_key
from agent.model.core import Pod, normalized_address
from agent.model.meta import Key
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import audit_of, default_policies, in_force, policies_of, policy_ir


def guarded_at(view: TrackedView, address: str) -> GuardedAddress | None:
    """What decides who may connect to an address, in canonical form; None: no pod that is known to be protected has it.

    Of a pod of this node the policies themselves say it; of a pod of another node that node's WeftNode.
    """
    for pod in _pods_at(view, address):
        policies = policies_of(view, pod)
        return GuardedAddress(pod.metadata.namespace, tuple(policies)) if policies else None
    reports = view.guarded(address)
    if not reports:
        return None
    found = guarded_by(view, reports[0][1])
    # Where two nodes have an endpoint with the address, it is not known which of them serves it.
    certain = len(reports) == 1
    return replace(found, exact=found.exact and certain, current=found.current and certain)


def audit_at(view: TrackedView, service: Key, address: str) -> Audit | None:
    """The audited policies of an endpoint of a Service; None without any. Of a pod of another node only those for this
    Service are known, and none where it is not known what that node enforces.
    """
    for pod in _pods_at(view, address):
        return audit_of(view, pod)
    audited = view.once(("audited", service), lambda: _audited(view, service))
    found = guarded_at(view, address) if audited else None
    if not audited or (found is not None and not found.current):
        return None
    enforced = [policy for policy in found.policies if policy.key.kind == KIND] if found is not None else []
    together = ordered([*enforced, *(policy_ir(view, item) for item in audited)])
    return Audit(tuple(sorted(map(policy_key, audited))), tuple(together))


def _audited(view: TrackedView, service: Key) -> list[AnyPolicy]:
    """The audited policies about requests to a Service."""
    return [item for item in in_force(view, service.namespace) if item.is_audited and service in item.services]


def _pods_at(view: TrackedView, address: str) -> list[Pod]:
    """The pods of this node with an address."""
    return [pod for pod in view.holders(address) if isinstance(pod, Pod) and not pod.spec.host_network]


def guarded_by(view: TrackedView, report: Guarded) -> GuardedAddress:
    """What a node reports of addresses, by the policies that are known here."""
    namespace = report.namespace
    if not report.policies:
        default = tuple(default_policies(mesh_parameters(view), namespace))
        return GuardedAddress(namespace, default, bool(default), bool(default))
    known = {policy_key(policy).name: policy for policy in in_force(view, namespace)}
    named = {item.name: item.generation for item in report.policies}
    policies = [
        view.once(("policy", namespace, name), partial(policy_ir, view, known[name]))
        if name in known
        else Policy(Key(KIND, namespace, name))
        for name in sorted(named)
    ]
    complete = named.keys() <= known.keys()
    exact = complete and all(policy.generation == named[policy.key.name] for policy in policies)
    current = complete and all(policy.generation >= named[policy.key.name] for policy in policies)
    return GuardedAddress(namespace, tuple(ordered(policies)), exact, current)


def is_reported(view: TrackedView, addresses: Iterable[str], policies: Iterable[Policy], node: str) -> bool:
    """Whether the stored report of this node has these addresses with these policies: other nodes can know them."""
    named = {PolicyGeneration(it.key.name, it.generation) for it in policies if it.key.kind == KIND}
    reports = [dict(view.reports(normalized_address(address))).get(node) for address in addresses]
    return all(report is not None and set(report.policies) == named for report in reports)
