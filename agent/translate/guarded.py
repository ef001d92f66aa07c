"""What decides who may connect to the address of a protected pod, of this node or of another one."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from agent.ir.policy import GuardedAddress, Policy, ordered
from agent.model.authorization import KIND, policy_key
from agent.model.core import Pod, normalized_address
from agent.model.meta import Key
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import default_policies, in_force, policies_of, policy_ir


def guarded_at(view: TrackedView, address: str) -> GuardedAddress | None:
    """What decides who may connect to an address, in canonical form; None: no pod that is known to be protected has it.

    Of a pod of this node the policies themselves say it; of a pod of another node that node's WeftNode.
    """
    here = [pod for pod in view.holders(address) if isinstance(pod, Pod) and not pod.spec.host_network]
    for pod in here:
        policies = policies_of(view, pod)
        return GuardedAddress(pod.metadata.namespace, tuple(policies)) if policies else None
    reports = view.guarded(address)
    if not reports:
        return None
    found = guarded_by(view, reports[0][1])
    # Where two nodes have an endpoint with the address, it is not known which of them serves it.
    certain = len(reports) == 1
    return replace(found, exact=found.exact and certain, current=found.current and certain)


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
