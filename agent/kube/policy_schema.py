"""What the API server's schema of AuthorizationPolicies refuses, and types cannot express.

The bounds are those of `daemonset/base/authorizationpolicies.yaml`.
"""

import re
from collections.abc import Iterator

from msgspec import UNSET

from agent.kube.http_attributes_schema import http_attribute_violations
from agent.model.authorization import (
    ANY_ACCOUNT,
    AuthorizationPolicy,
    AuthorizationRule,
    AuthorizationSource,
    AuthorizationSourceServiceAccount,
    LabelSelector,
    LabelSelectorRequirement,
    PolicyTargetReference,
)
from agent.model.limits import MAX_LIST, NAME, Violation, too_many

MAX_SOURCES = 64
MAX_LABELS = 64
MAX_SERVICE = 63
MAX_TEXT = {"key": 317, "value": 63, "spiffe": 2048}
# https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity
SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+")


def policy_violations(policy: AuthorizationPolicy) -> Iterator[Violation]:
    """The rules that a policy breaks."""
    spec = policy.spec
    if len(spec.target_refs) != 1:
        yield "spec.targetRefs", f"{len(spec.target_refs)} references; exactly one is allowed"
    for position, ref in enumerate(spec.target_refs):
        yield from _target(f"spec.targetRefs[{position}]", ref, spec.enforcement_level)
    yield from too_many("spec.rules", spec.rules, MAX_LIST)
    for position, rule in enumerate(spec.rules):
        field = f"spec.rules[{position}]"
        yield from _rule(field, rule)
        if rule.http_attributes is not UNSET:
            if spec.enforcement_level != "Application":
                yield f"{field}.httpAttributes", "must not be there: the enforcementLevel is not Application"
            yield from http_attribute_violations(f"{field}.httpAttributes", rule.http_attributes)


def _target(field: str, ref: PolicyTargetReference, level: str) -> Iterator[Violation]:
    """Network is about pods, Application about a Service; the field of the kind is there, and the other one is not."""
    kind = "Pod" if level == "Network" else "Service"
    if ref.kind != kind:
        yield f"{field}.kind", f"is {ref.kind}; the enforcementLevel {level} is for the kind {kind}"
    for owner, name, value in (("Pod", "selector", ref.selector), ("Service", "name", ref.name)):
        if (value is not UNSET) != (ref.kind == owner):
            problem = "is missing" if ref.kind == owner else "must not be there"
            yield f"{field}.{name}", f"{problem}: the kind is {ref.kind}"
    if ref.selector is not UNSET:
        yield from _selector(f"{field}.selector", ref.selector)
    if ref.name is not UNSET and (not NAME.fullmatch(ref.name) or "." in ref.name or len(ref.name) > MAX_SERVICE):
        yield f"{field}.name", f"{ref.name[:80]!a} is not the name of a Service"


def _selector(field: str, selector: LabelSelector) -> Iterator[Violation]:
    labels = selector.match_labels
    if len(labels) > MAX_LABELS:
        yield f"{field}.matchLabels", f"{len(labels)} are more than {MAX_LABELS}"
    for name, value in labels.items():
        yield from _length(f"{field}.matchLabels", name, "key")
        yield from _length(f"{field}.matchLabels", value, "value")
    yield from too_many(f"{field}.matchExpressions", selector.match_expressions, MAX_LIST)
    for position, item in enumerate(selector.match_expressions):
        yield from _requirement(f"{field}.matchExpressions[{position}]", item)


def _requirement(field: str, item: LabelSelectorRequirement) -> Iterator[Violation]:
    yield from _length(f"{field}.key", item.key, "key")
    yield from too_many(f"{field}.values", item.values, MAX_LABELS)
    for position, value in enumerate(item.values):
        yield from _length(f"{field}.values[{position}]", value, "value")
    if item.operator in ("In", "NotIn") and not item.values:
        yield f"{field}.values", f"is empty; the operator {item.operator} needs values"
    if item.operator in ("Exists", "DoesNotExist") and item.values:
        yield f"{field}.values", f"the operator {item.operator} takes no values"


def _length(field: str, text: str, kind: str) -> Iterator[Violation]:
    if len(text) > MAX_TEXT[kind]:
        yield field, f"{len(text)} characters are more than {MAX_TEXT[kind]}"
    if kind == "key" and not text:
        yield field, "is empty"


def _rule(field: str, rule: AuthorizationRule) -> Iterator[Violation]:
    if rule.sources is not UNSET:
        if not rule.sources:
            yield f"{field}.sources", "is empty; without the field any client matches, without the rule none"
        yield from too_many(f"{field}.sources", rule.sources, MAX_SOURCES)
        for position, source in enumerate(rule.sources):
            yield from _source(f"{field}.sources[{position}]", source)
    ports = rule.network_attributes.ports
    if ports is not UNSET:
        if not ports:
            yield f"{field}.networkAttributes.ports", "is empty; without the field any port matches"
        yield from too_many(f"{field}.networkAttributes.ports", ports, MAX_LIST)


def _source(field: str, source: AuthorizationSource) -> Iterator[Violation]:
    """The field of the source's type is there, and the other one is not."""
    values = {"ServiceAccount": source.service_account, "SPIFFE": source.spiffe}
    names = {"ServiceAccount": "serviceAccount", "SPIFFE": "spiffe"}
    for kind, value in values.items():
        if (value is not UNSET) != (kind == source.type):
            problem = "is missing" if kind == source.type else "must not be there"
            yield f"{field}.{names[kind]}", f"{problem}: the type is {source.type}"
    if source.service_account is not UNSET:
        yield from _account(f"{field}.serviceAccount", source.service_account)
    if source.spiffe is not UNSET:
        yield from _length(f"{field}.spiffe", source.spiffe, "spiffe")
        if not SPIFFE.fullmatch(source.spiffe):
            yield f"{field}.spiffe", f"{source.spiffe[:80]!a} is not spiffe://TRUST-DOMAIN/PATH"


def _account(field: str, account: AuthorizationSourceServiceAccount) -> Iterator[Violation]:
    if account.name != ANY_ACCOUNT and not NAME.fullmatch(account.name):
        yield f"{field}.name", f"{account.name[:80]!a} is neither a DNS name nor {ANY_ACCOUNT}"
    space = account.namespace
    if space is not UNSET and (not NAME.fullmatch(space) or "." in space):
        yield f"{field}.namespace", f"{space[:80]!a} is not a DNS label"
