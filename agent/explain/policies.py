"""AuthorizationPolicies in manifests: what of them has no effect, or another than their author may expect.

The pods are those of the manifests, and those that workloads make of their templates.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from agent.explain.manifests import Manifests
from agent.explain.shadowed_rules import shadowed_rules
from agent.explain.workloads import pods_of, workloads_of
from agent.ir.policy import Policy
from agent.model.authorization import (
    AUDIT,
    AnyPolicy,
    AuthorizationPolicy,
    LabelSelector,
    UndecodableAuthorizationPolicy,
    policy_key,
)
from agent.model.core import Pod, Service
from agent.model.meta import Key
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import policies_of, policy_errors, policy_ir, selects_pod
from agent.translate.policy_service import closed_ports, service_error

EVERY_POD = (LabelSelector(),)
SHOWN = 3  # rules that a warning names
AUDIT_FIELD = f"metadata.annotations[{AUDIT}]"
RULES, SELECTOR, SERVICE = "spec.rules", "spec.targetRefs[0].selector", "spec.targetRefs[0].name"


class PolicyWarning(NamedTuple):
    """The file and line, the object, the field, and what its author should know."""

    location: str
    object: Key
    field: str
    message: str


def policy_warnings(
    manifests: Manifests, documents: Sequence[tuple[str, Any]], view: TrackedView
) -> Iterator[PolicyWarning]:
    """All warnings. `documents` are the same manifests as parsed, each with its location, `view` as translated."""
    trust_domain = mesh_parameters(view).spec.trust_domain
    objects = manifests.objects.values()
    policies = [value for value in objects if isinstance(value, AuthorizationPolicy)]
    every: list[AnyPolicy] = [*policies, *(it for it in objects if isinstance(it, UndecodableAuthorizationPolicy))]
    workloads = [item for location, document in documents for item in workloads_of(location, document)]
    pods = list(pods_of(manifests, documents).values())
    for policy in policies:
        found = [(error.field, error.message) for error in policy_errors(policy, trust_domain)]
        found += [
            *_audited(policy),
            *_without_rules(policy, policies),
            *_without_pods(view, policy, pods),
            *_at_services(view, policy),
        ]
        for field, message in found:
            yield PolicyWarning(manifests.locations[policy.key], policy.key, field, message)
    for item in workloads:
        if item.pod.spec.host_network and any(selects_pod(view, policy, item.pod) for policy in every):
            message = "Unsupported, its policies are not enforced: its pods are on the host's network"
            yield PolicyWarning(item.location, item.key, "spec.template.spec.hostNetwork", message)
    yield from _different_policies(view, manifests, [policy for policy in every if not policy.is_audited], pods)
    yield from _shadowed(manifests, [policy for policy in policies if not policy.is_audited], pods, view)


def _audited(policy: AuthorizationPolicy) -> Iterator[tuple[str, str]]:
    """A policy that is not enforced, and one with a value of the annotation that does not have that effect."""
    value = policy.metadata.annotations.get(AUDIT)
    if policy.is_audited:
        yield AUDIT_FIELD, "audited: it is not enforced, and what it would decide is counted"
    elif value not in (None, "false"):
        yield AUDIT_FIELD, f"{value!r} is neither true nor false: the policy is enforced"


def _without_rules(policy: AuthorizationPolicy, policies: list[AuthorizationPolicy]) -> Iterator[tuple[str, str]]:
    """A policy without rules, where no other one of its namespace has any: else it is a default."""
    namespace = policy.metadata.namespace
    if not any(other.spec.rules for other in policies if other.metadata.namespace == namespace):
        yield RULES, f"no policy of namespace {namespace} has rules: the pods that it selects admit no client"


def _without_pods(view: TrackedView, policy: AuthorizationPolicy, pods: list[Pod]) -> Iterator[tuple[str, str]]:
    """A policy that selects none of the manifests' pods, where its namespace has any."""
    there = any(pod.metadata.namespace == policy.metadata.namespace for pod in pods)
    if there and not _selects_any(view, policy, pods):
        yield SERVICE if policy.services else SELECTOR, "it selects no pod of these manifests"


def _at_services(view: TrackedView, policy: AuthorizationPolicy) -> Iterator[tuple[str, str]]:
    """Services, and ports of them, at which rules about requests have no effect."""
    for key in policy.services:
        _, message = service_error(view, key)
        yield from ((SERVICE, text) for text in ([message] if message else closed_ports(view, key)))


def _different_policies(
    view: TrackedView, manifests: Manifests, policies: list[AnyPolicy], pods: list[Pod]
) -> Iterator[PolicyWarning]:
    """Services whose pods have different policies."""
    message = (
        "its pods have different policies: a client that goes through the waypoint must be admitted by all of them"
    )
    for service in (value for value in manifests.objects.values() if isinstance(value, Service)):
        own = [pod for pod in pods if service.selects(pod)]
        found = {frozenset(policy_key(policy) for policy in policies if selects_pod(view, policy, pod)) for pod in own}
        if len(found) > 1:
            yield PolicyWarning(manifests.locations[service.key], service.key, "spec.selector", message)


def _shadowed(
    manifests: Manifests, policies: list[AuthorizationPolicy], pods: list[Pod], view: TrackedView
) -> Iterator[PolicyWarning]:
    """Rules that can be removed, for all pods of the manifests."""
    sets = {tuple(policies_of(view, pod)) for pod in pods}
    sets |= {
        tuple(_with_same_pods(policy, policies, view)) for policy in policies if not _selects_any(view, policy, pods)
    }
    for item in shadowed_rules(sets):
        more = f" and {len(item.by) - SHOWN} more" if len(item.by) > SHOWN else ""
        message = f"it admits no client that these do not admit: {'; '.join(item.by[:SHOWN])}{more}"
        yield PolicyWarning(manifests.locations[item.policy], item.policy, f"{RULES}[{item.position}]", message)


def _selects_any(view: TrackedView, policy: AuthorizationPolicy, pods: list[Pod]) -> bool:
    return any(selects_pod(view, policy, pod) for pod in pods)


def _with_same_pods(
    policy: AuthorizationPolicy, policies: list[AuthorizationPolicy], view: TrackedView
) -> Iterator[Policy]:
    """The policies that select all of the pods of a policy, whichever these are: those with its targets, and those that
    select every pod of its namespace.
    """
    for other in policies:
        same = other.spec.target_refs == policy.spec.target_refs or other.selectors == EVERY_POD
        if same and other.metadata.namespace == policy.metadata.namespace:
            yield policy_ir(view, other)
