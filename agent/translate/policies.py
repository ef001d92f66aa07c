"""AuthorizationPolicies as `agent.ir.policy` has them, and those that decide about a pod: its own, or the mesh's."""

import re
from collections.abc import Iterator

from msgspec import UNSET

from agent.ir.policy import ANY, Audit, Policy, PolicyRule, ServiceAccount, ordered
from agent.ir.request_conditions import ANY_REQUEST, PathCondition, RequestConditions
from agent.model.authorization import (
    AnyPolicy,
    AuthorizationHTTPAttributes,
    AuthorizationPolicy,
    AuthorizationRule,
    AuthorizationSource,
    UndecodableAuthorizationPolicy,
    policy_key,
    selects,
)
from agent.model.core import Pod, Service
from agent.model.meta import WEFT_NAMESPACE
from agent.model.parameters import MeshParameters
from agent.store.store import TrackedView
from agent.translate.field_errors import UNSUPPORTED, FieldError
from agent.translate.parameters import mesh_parameters

ALWAYS_EXEMPT = ("kube-system", WEFT_NAMESPACE)
"""Without DNS and without the mesh itself no other pod works. Policies of these namespaces can close their pods."""
_SPIFFE = re.compile(r"spiffe://(?P<domain>[^/]+)/ns/(?P<namespace>[^/]+)/sa/(?P<name>[^/]+)")


def policies_of(view: TrackedView, pod: Pod) -> list[Policy]:
    """The policies that decide who may connect to a pod, `ordered`; where none selects it, the default of the mesh. An
    empty list: everyone may.
    """
    deciding = _selecting(view, pod, audited=False)
    if not deciding:
        return default_policies(mesh_parameters(view), pod.metadata.namespace)
    return ordered(policy_ir(view, policy) for policy in deciding)


def audit_of(view: TrackedView, pod: Pod, application: bool = True) -> Audit | None:
    """The audited policies of a pod, with those that would decide if these were enforced too; None without any. Without
    `application`: only audited policies of the level Network.
    """
    audited = [item for item in _selecting(view, pod, audited=True) if application or not item.is_application]
    if not audited:
        return None
    together = _selecting(view, pod, audited=False) + audited
    return Audit(
        tuple(sorted(policy_key(policy) for policy in audited)), tuple(ordered(policy_ir(view, it) for it in together))
    )


def _selecting(view: TrackedView, pod: Pod, audited: bool) -> list[AnyPolicy]:
    found = (policy for policy in in_force(view, pod.metadata.namespace) if policy.is_audited == audited)
    return [policy for policy in found if selects_pod(view, policy, pod)]


def selects_pod(view: TrackedView, policy: AnyPolicy, pod: Pod) -> bool:
    """Whether a policy selects a pod, by labels or as one of a Service."""
    services = (view.get(Service, key.namespace, key.name) for key in policy.services)
    return selects(policy, pod) or any(service is not None and service.selects(pod) for service in services)


def has_policies(view: TrackedView) -> bool:
    """Whether any pod can have policies: there are AuthorizationPolicies, or the mesh has a default."""
    return view.has_policies() or mesh_parameters(view).spec.authorization.default != "Allow"


def in_force(view: TrackedView, namespace: str) -> list[AnyPolicy]:
    """The policies of a namespace, audited or not. Where a generation before it is in force, the newest one that could
    not be decoded has no effect.
    """
    known = view.policies(namespace)
    kept = {policy.key for policy in known if isinstance(policy, AuthorizationPolicy)}
    return [it for it in known if not (isinstance(it, UndecodableAuthorizationPolicy) and it.policy in kept)]


def default_policies(parameters: MeshParameters, namespace: str) -> list[Policy]:
    """The mesh's default for pods of a namespace, as a policy with the key of the MeshParameters; an empty list: they
    admit everyone.
    """
    authorization = parameters.spec.authorization
    if authorization.default == "Allow" or namespace in (*ALWAYS_EXEMPT, *authorization.exempt_namespaces):
        return []
    own = PolicyRule(frozenset({ServiceAccount(namespace, ANY)}))
    return [Policy(parameters.key, (own,) if authorization.default == "SameNamespace" else ())]


def policy_ir(view: TrackedView, policy: AnyPolicy) -> Policy:
    """One policy. That which could not be decoded allows nothing."""
    if isinstance(policy, UndecodableAuthorizationPolicy):
        return Policy(policy_key(policy), generation=policy.generation, application=policy.is_application)
    # Most policies have no SPIFFE ID: nothing about them depends on the trust domain.
    domain = mesh_parameters(view).spec.trust_domain if _has_spiffe_ids(policy) else ""
    return translate_policy(policy, domain)


def _has_spiffe_ids(policy: AuthorizationPolicy) -> bool:
    sources = (source for rule in policy.spec.rules for source in rule.sources or ())
    return any(source.spiffe is not UNSET for source in sources)


def translate_policy(policy: AuthorizationPolicy, trust_domain: str) -> Policy:
    """One policy, in a mesh of this trust domain."""
    namespace = policy.metadata.namespace
    rules = tuple(_rule(rule, namespace, trust_domain) for rule in policy.spec.rules)
    return Policy(policy.key, rules, policy.metadata.generation, policy.is_application)


def policy_errors(policy: AuthorizationPolicy, trust_domain: str) -> Iterator[FieldError]:
    """The sources of a policy that match no client in this version, although SPIFFE has a meaning for them."""
    for position, rule in enumerate(policy.spec.rules):
        for number, source in enumerate(rule.sources or ()):
            if _account(source, policy.metadata.namespace, trust_domain) is None:
                field = f"spec.rules[{position}].sources[{number}].spiffe"
                yield FieldError(UNSUPPORTED, field, _unsupported(source, trust_domain))


def _rule(rule: AuthorizationRule, namespace: str, trust_domain: str) -> PolicyRule:
    ports = rule.network_attributes.ports
    allowed_ports = frozenset() if ports is UNSET else frozenset(ports)
    conditions = ANY_REQUEST if rule.http_attributes is UNSET else _conditions(rule.http_attributes)
    if rule.sources is UNSET:
        return PolicyRule(None, allowed_ports, conditions)
    found = (_account(source, namespace, trust_domain) for source in rule.sources)
    return PolicyRule(frozenset(account for account in found if account is not None), allowed_ports, conditions)


def _conditions(attributes: AuthorizationHTTPAttributes) -> RequestConditions:
    paths = (
        PathCondition(item.value) if item.type == "Exact" else PathCondition(item.value.rstrip("/"), exact=False)
        for item in attributes.paths or ()
    )
    headers = ((item.name.lower(), item.value) for item in attributes.headers or ())
    return RequestConditions(tuple(attributes.methods or ()), tuple(paths), tuple(headers))


def _account(source: AuthorizationSource, namespace: str, trust_domain: str) -> ServiceAccount | None:
    """The service account that a source names; None where it is no service account of this trust domain."""
    account = source.service_account
    if account is not UNSET:
        return ServiceAccount(namespace if account.namespace is UNSET else account.namespace, account.name)
    found = _SPIFFE.fullmatch("" if source.spiffe is UNSET else source.spiffe)
    if found is None or found["domain"] != trust_domain:
        return None
    return ServiceAccount(found["namespace"], found["name"])


def _unsupported(source: AuthorizationSource, trust_domain: str) -> str:
    text = "" if source.spiffe is UNSET else source.spiffe
    domain = text.removeprefix("spiffe://").partition("/")[0]
    if domain != trust_domain:
        return f"no client has an identity of the trust domain {domain}, only of {trust_domain}: it matches no client"
    return f"{text} is not spiffe://{trust_domain}/ns/NAMESPACE/sa/NAME: it matches no client"
