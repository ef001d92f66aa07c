"""AuthorizationPolicy (`weft.dev/v1alpha1`): who may connect to the pods that it selects, in the form of GEP-3779.

A field that is not known is an error in all of the spec: a condition that weft ignored would admit more clients than
its author wants. For the same reason an absent list differs from an empty one, and null is not an absent list.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from agent.model.core import Pod, Port
from agent.model.meta import Key, Object, Value
from agent.model.routes import undecodable

KIND = "AuthorizationPolicy"
GROUP = "weft.dev"
ANY_ACCOUNT = "*"
AUDIT, AUDITED = "weft.dev/audit", "true"
"""The annotation of a policy that is not enforced: what it would decide is counted."""


class Strict(Value, frozen=True, forbid_unknown_fields=True):
    """Base of what is in the spec."""


class LabelSelectorRequirement(Strict, frozen=True):
    """One condition on a label. `NotIn` also holds where the label is absent."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels meets it."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(Strict, frozen=True):
    """Conditions on labels that must all hold; without any it matches every object."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        by_label = all(labels.get(name) == value for name, value in self.match_labels.items())
        return by_label and all(item.matches(labels) for item in self.match_expressions)


class PolicyTargetReference(Strict, frozen=True):
    """Pods of the policy's own namespace: those that `selector` selects, or those of the Service `name`. Which of both
    is set, `kind` says.
    """

    kind: Literal["Pod", "Service"]
    selector: LabelSelector | UnsetType = UNSET
    name: str | UnsetType = UNSET
    group: Literal[""] = ""


class AuthorizationSourceServiceAccount(Strict, frozen=True):
    """A service account of this mesh's trust domain: the name `*` is every account of the namespace. Without a
    namespace it is the policy's own.
    """

    name: str
    namespace: str | UnsetType = UNSET


class AuthorizationSource(Strict, frozen=True):
    """A client. Which of the other two fields is set, `type` says."""

    type: Literal["ServiceAccount", "SPIFFE"]
    service_account: AuthorizationSourceServiceAccount | UnsetType = UNSET
    spiffe: str | UnsetType = UNSET


class AuthorizationNetworkAttributes(Strict, frozen=True):
    """The ports of the pod itself, not those of its Services; without a list every port."""

    ports: tuple[Port, ...] | UnsetType = UNSET


class HTTPPathAttribute(Strict, frozen=True):
    """A path without its query, or a prefix of whole segments."""

    type: Literal["Exact", "PathPrefix"]
    value: str


class HTTPHeaderAttribute(Strict, frozen=True):
    """A header with exactly this value."""

    name: str
    value: str


class AuthorizationHTTPAttributes(Strict, frozen=True):
    """Any of the methods, any of the paths, and all of the headers. Without a list it asks for nothing of it."""

    methods: tuple[str, ...] | UnsetType = UNSET
    paths: tuple[HTTPPathAttribute, ...] | UnsetType = UNSET
    headers: tuple[HTTPHeaderAttribute, ...] | UnsetType = UNSET


class AuthorizationRule(Strict, frozen=True):
    """A connection matches by its client and by its port, and a request by its HTTP attributes too. Without `sources`
    every client matches.
    """

    sources: tuple[AuthorizationSource, ...] | UnsetType = UNSET
    network_attributes: AuthorizationNetworkAttributes = AuthorizationNetworkAttributes()
    http_attributes: AuthorizationHTTPAttributes | UnsetType = UNSET


class AuthorizationPolicySpec(Strict, frozen=True):
    """Without rules the policy allows nothing."""

    target_refs: tuple[PolicyTargetReference, ...]
    action: Literal["ALLOW"]
    enforcement_level: Literal["Network", "Application"]
    rules: tuple[AuthorizationRule, ...] = ()


class AuthorizationPolicy(Object, frozen=True):
    """Who may connect to the pods that it selects, or with the level Application: who may send which requests."""

    spec: AuthorizationPolicySpec

    @property
    def is_audited(self) -> bool:
        """Whether it is not enforced. Any value of the annotation but `true` is none."""
        return self.metadata.annotations.get(AUDIT) == AUDITED

    @property
    def is_application(self) -> bool:
        """Whether its level is Application."""
        return self.spec.enforcement_level == "Application"

    @property
    def selectors(self) -> tuple[LabelSelector, ...]:
        """The selectors of its pods."""
        return tuple(item.selector for item in self.spec.target_refs if item.selector is not UNSET)

    @property
    def services(self) -> tuple[Key, ...]:
        """The Services of its pods."""
        return tuple(
            Key("Service", self.metadata.namespace, item.name)
            for item in self.spec.target_refs
            if item.name is not UNSET
        )


class UndecodableAuthorizationPolicy(Value, frozen=True):
    """A fact about an AuthorizationPolicy: its newest generation could not be decoded. Where an older one is in the
    store, that one is in force. Otherwise no client may connect to the pods that it selects.

    `selectors` is None where the targetRefs could not be decoded either: then it selects every pod of its namespace.
    `services` are those whose pods it selects. `is_audited`: it is not enforced.
    """

    policy: Key
    generation: int
    selectors: tuple[LabelSelector, ...] | None
    field: str
    message: str
    services: tuple[Key, ...] = ()
    is_audited: bool = False
    uid: str = ""

    @property
    def key(self) -> Key:
        """The fact's identity."""
        return undecodable(self.policy)

    @property
    def is_application(self) -> bool:
        """Whether it is for the pods of Services, as only policies of the level Application are."""
        return bool(self.services)


AnyPolicy: TypeAlias = AuthorizationPolicy | UndecodableAuthorizationPolicy


def policy_key(policy: AnyPolicy) -> Key:
    """The key of the AuthorizationPolicy."""
    return policy.policy if isinstance(policy, UndecodableAuthorizationPolicy) else policy.key


def selects(policy: AnyPolicy, pod: Pod) -> bool:
    """Whether a policy selects a pod by labels: one of its namespace."""
    if policy_key(policy).namespace != pod.metadata.namespace:
        return False
    return policy.selectors is None or _any_matches(policy.selectors, pod.metadata.labels)


def _any_matches(selectors: Iterable[LabelSelector], labels: Mapping[str, str]) -> bool:
    return any(selector.matches(labels) for selector in selectors)
