"""Istio's AuthorizationPolicies in manifests: weft does not enforce them. What of them its own policies can say.

Fields by https://istio.io/latest/docs/reference/config/security/authorization-policy/.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from agent.explain.fields import flattened
from agent.explain.policies import PolicyWarning
from agent.explain.workloads import as_object
from agent.model.authorization import KIND
from agent.model.meta import Key

GROUP = "security.istio.io/"
ROOT_NAMESPACE = "istio-system"
PRINCIPAL = re.compile(r"[^/*]+/ns/[^/*]+/(?:sa/[^/*]+|\*)")
NO_EXCEPTIONS = "there are no exceptions: name the clients and requests that are allowed"
CANNOT = "a policy of weft cannot say this: "


def istio_warnings(documents: Iterable[tuple[str, Any]]) -> Iterator[PolicyWarning]:
    """For each policy of Istio that it is not enforced, and each field that a policy of weft cannot have. `documents`
    are manifests as parsed, each with its location.
    """
    for location, document in documents:
        for item in map(as_object, flattened(document)):
            if item.get("kind") == KIND and str(item.get("apiVersion")).startswith(GROUP):
                metadata, spec = as_object(item.get("metadata")), as_object(item.get("spec"))
                namespace = str(metadata.get("namespace", "default"))
                key = Key(f"Istio's {KIND}", namespace, str(metadata.get("name")))
                found = [*_target(namespace, spec), *_rules(spec)]
                but = ", but for the fields below" if found else ""
                whole = f"not enforced: an {KIND} of weft.dev can say the same{but}, with the level {_level(spec)}"
                for field, message in [("", whole), *((field, CANNOT + text) for field, text in found)]:
                    yield PolicyWarning(location, key, field, message)


def _target(namespace: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    action = spec.get("action", "ALLOW")
    if action != "ALLOW":
        yield "spec.action", f"the action is ALLOW, not {action}"
    if namespace == ROOT_NAMESPACE and not spec.get("selector") and not spec.get("targetRefs"):
        yield "spec", "it is for one namespace, not for all of the mesh; MeshParameters have a default for that"
    for number, target in enumerate(map(as_object, _list(spec.get("targetRefs")))):
        if target.get("kind") != "Service":
            yield f"spec.targetRefs[{number}].kind", "the target is Pods or a Service"


def _rules(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for position, rule in enumerate(map(as_object, _list(spec.get("rules")))):
        where = f"spec.rules[{position}]"
        for number, source in enumerate(_parts(rule, "from", "source")):
            yield from _values(f"{where}.from[{number}].source", source, SOURCE)
            if len(source.keys() & CLIENTS) > 1:
                yield f"{where}.from[{number}].source", "a client is named by one of its fields"
        for number, operation in enumerate(_parts(rule, "to", "operation")):
            yield from _values(f"{where}.to[{number}].operation", operation, OPERATION)
        if rule.get("when"):
            yield f"{where}.when", "conditions are on ports, methods, paths and headers only"


def _parts(rule: Mapping[str, Any], field: str, part: str) -> Iterator[Mapping[str, Any]]:
    return (as_object(as_object(item).get(part)) for item in _list(rule.get(field)))


def _values(
    where: str, fields: Mapping[str, Any], known: Mapping[str, Callable[[str], str]]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the values of each field: the first reason."""
    for field, values in fields.items():
        check = known.get(field, _exception if field.startswith("not") else _unknown)
        reasons = [reason for value in _list(values) if (reason := check(str(value)))]
        if reasons:
            yield f"{where}.{field}", reasons[0]


def _level(spec: Mapping[str, Any]) -> str:
    """The level of a policy of weft that says the same."""
    rules = map(as_object, _list(spec.get("rules")))
    operations = [operation for rule in rules for operation in _parts(rule, "to", "operation")]
    return "Application, for a Service" if any(item.keys() & REQUESTS for item in operations) else "Network"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _principal(value: str) -> str:
    return "" if PRINCIPAL.fullmatch(value) else "clients are service accounts, or all of a namespace"


def _exact(value: str) -> str:
    return "a name has no wildcard" if "*" in value else ""


def _path(value: str) -> str:
    exact = value.removesuffix("/*")
    return "a path is exact, or a prefix of whole segments" if "*" in exact or "{" in exact else ""


def _known(_: str) -> str:
    return ""


def _exception(_: str) -> str:
    return NO_EXCEPTIONS


def _unknown(_: str) -> str:
    return "there is no such condition"


SOURCE = {
    "principals": _principal,
    "namespaces": _exact,
    "serviceAccounts": _exact,
    "ipBlocks": lambda _: "clients have identities, not addresses",
    "remoteIpBlocks": lambda _: "clients have identities, not addresses",
    "requestPrincipals": lambda _: "requests are not authenticated (JWT)",
}
CLIENTS = {"principals", "namespaces", "serviceAccounts"}
OPERATION = {"ports": _known, "methods": _exact, "paths": _path}
REQUESTS = {"methods", "paths"}
