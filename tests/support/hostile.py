"""Invalid objects, made deterministically: wrong types in every field, and known attacks."""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from agent.kube.decode import KINDS
from support.valid_objects import BACKEND, BODIES, PARENT

WRONG: dict[str, Any] = {
    "null": None,
    "number": 7,
    "negative": -1,
    "huge": 2**70,
    "text": "\u202e\x00é",
    "list": [],
    "object": {},
    "nested": [[[]]],
    "true": True,
    "nan": math.nan,
}
# Where a value of WRONG is right: its type allows it, or it makes the object another API's. Patterns of kind and field.
HARMLESS = {
    "*Route.apiVersion": "text",
    "EndpointSlice.apiVersion": "text",
    "ReferenceGrant.apiVersion": "text",
    "RuntimeClass.apiVersion": "text",
    "RuntimeClass.handler": "text",
    "[!A]*.kind": "text",
    "AuthorizationPolicy.kind": "text",
    "Namespace.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "RuntimeClass.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "Node.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "Node.status": "object",
    "Node.status.addresses": "list",
    "Node.status.addresses.0.address": "text",
    "Node.status.addresses.0.type": "text",
    "ServiceCIDR.apiVersion": "text",
    "ServiceCIDR.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "Pod.spec": "object",
    "Pod.spec.nodeName": "text",
    "Pod.spec.hostNetwork": "true",
    "Pod.status": "object",
    "Pod.status.phase": "text",
    "Service.spec": "object",
    "Service.spec.ports": "list",
    "Service.spec.ports.0.name": "text",
    "Service.spec.ports.0.port": "number",
    "ServiceImport.apiVersion": "text",
    "ServiceImport.spec": "object",
    "ServiceImport.spec.ips": "list",
    "ServiceImport.spec.ports": "list",
    "ServiceImport.spec.ports.0.name": "text",
    "ServiceImport.spec.ports.0.port": "number",
    "ServiceImport.status": "object",
    "ServiceImport.status.endpointSliceObjects": "text",
    "EndpointSlice.ports": "list",
    "EndpointSlice.ports.0": "object",
    "EndpointSlice.ports.0.name": "text",
    "EndpointSlice.ports.0.port": "null number",
    "EndpointSlice.endpoints": "list",
    "EndpointSlice.endpoints.0.conditions": "object",
    "EndpointSlice.endpoints.0.conditions.ready": "null true",
    "EndpointSlice.endpoints.0.hints": "object",
    "EndpointSlice.endpoints.0.hints.forZones": "list",
    "EndpointSlice.endpoints.0.hints.forZones.0.name": "text",
    "HTTPRoute.spec": "object",
    "GRPCRoute.spec": "object",
    "*.spec.parentRefs": "list",
    "*.spec.parentRefs.0.group": "text",
    "*.spec.parentRefs.0.kind": "text",
    "[HG]*Route.spec.parentRefs.0.port": "null",
    "TCPRoute.spec.parentRefs.0.port": "null",
    "HTTPRoute.spec.rules.0": "object",
    "GRPCRoute.spec.rules.0": "object",
    "HTTPRoute.spec.rules.0.backendRefs": "list",
    "GRPCRoute.spec.rules.0.backendRefs": "list",
    "[HG]*Route.spec.rules.0.backendRefs.0.weight": "number",
    "T[CL][PS]Route.spec.rules.0.backendRefs.0.weight": "number",
    "HTTPRoute.spec.rules.0.matches": "list",
    "HTTPRoute.spec.rules.0.matches.0": "object",
    "HTTPRoute.spec.rules.0.matches.0.path": "object",
    "HTTPRoute.spec.rules.0.matches.0.headers": "list",
    "HTTPRoute.spec.rules.0.matches.0.headers.0.value": "text",
    "HTTPRoute.spec.rules.0.filters": "list",
    "HTTPRoute.spec.rules.0.filters.0.urlRewrite": "object",
    "HTTPRoute.spec.rules.0.filters.0.urlRewrite.hostname": "null",
    "HTTPRoute.spec.rules.0.timeouts": "object",
    "HTTPRoute.spec.rules.0.timeouts.request": "null",
    "HTTPRoute.spec.rules.0.filters.1.requestMirror.percent": "null number",
    "HTTPRoute.spec.rules.0.filters.2.cors": "object",
    "HTTPRoute.spec.rules.0.filters.2.cors.allow*s": "list",
    "HTTPRoute.spec.rules.0.filters.2.cors.maxAge": "number",
    "HTTPRoute.spec.rules.0.retry": "null object",
    "HTTPRoute.spec.rules.0.retry.codes": "list",
    "HTTPRoute.spec.rules.0.retry.attempts": "null number",
    "HTTPRoute.spec.rules.0.retry.backoff": "null",
    "HTTPRoute.spec.rules.0.sessionPersistence": "null object",
    "HTTPRoute.spec.rules.0.sessionPersistence.sessionName": "null",
    "HTTPRoute.spec.rules.0.sessionPersistence.absoluteTimeout": "null",
    "TLSRoute.spec.hostnames": "list",
    "AuthorizationPolicy.apiVersion": "text",
    "AuthorizationPolicy.spec.targetRefs.0.selector": "object",
    "AuthorizationPolicy.spec.targetRefs.0.selector.matchLabels": "object",
    "AuthorizationPolicy.spec.targetRefs.0.selector.matchLabels.app": "text",
    "AuthorizationPolicy.spec.targetRefs.0.selector.matchExpressions": "list",
    "AuthorizationPolicy.spec.targetRefs.0.selector.matchExpressions.0.key": "text",
    "AuthorizationPolicy.spec.targetRefs.0.selector.matchExpressions.0.values.0": "text",
    "AuthorizationPolicy.spec.rules": "list",
    "AuthorizationPolicy.spec.rules.0": "object",
    "AuthorizationPolicy.spec.rules.0.networkAttributes": "object",
    "AuthorizationPolicy.spec.rules.0.networkAttributes.ports.0": "number",
    "MeshParameters.apiVersion": "text",
    "MeshParameters.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "MeshParameters.spec": "object",
    "MeshParameters.spec.authorization.exemptNamespaces": "list",
    "XMesh.apiVersion": "text",
    "XMesh.metadata.namespace": " ".join(WRONG.keys() - {"nan"}),
    "XMesh.spec": "object",
    "XMesh.spec.controllerName": "text",
    "XMesh.spec.parametersRef": "null object",
    "XMesh.spec.parametersRef.*": "text",
    "ReferenceGrant.spec": "object",
    "ReferenceGrant.spec.from": "list",
    "ReferenceGrant.spec.to": "list",
    "ReferenceGrant.spec.from.0.group": "text",
    "ReferenceGrant.spec.from.0.kind": "text",
    "ReferenceGrant.spec.from.0.namespace": "text",
}


@dataclass(frozen=True, slots=True)
class Hostile:
    """A document, with what is wrong with it for the reader of a failure. A harmless one is valid, or not weft's."""

    what: str
    text: str
    is_json: bool = True
    harmless: bool = False


def hostile_documents() -> Iterator[Hostile]:
    """Every document; each object has a name of its own, and each Service an address."""
    numbers = itertools.count()
    for documents in (_wrong_types, _tricks, _texts):
        yield from documents(lambda kind: _good(kind, next(numbers)))


def namespace_of(kind: str) -> str:
    """The namespace of bad objects. A policy that cannot be decoded closes the pods of its namespace."""
    return "closed" if kind == "AuthorizationPolicy" else "app"


Maker = Callable[[str], dict[str, Any]]


def _good(kind: str, number: int) -> dict[str, Any]:
    body = json.loads(json.dumps(BODIES[kind]).replace("10.96.0.9", f"10.96.{1 + number // 250}.{number % 250}"))
    metadata = {"name": f"bad-{number}", "namespace": namespace_of(kind)}
    return {"apiVersion": KINDS[kind][1][0], "kind": kind, "metadata": metadata, **body}


def _json(what: str, item: dict[str, Any], harmless: bool = False) -> Hostile:
    return Hostile(what, json.dumps(item), harmless=harmless)


def _wrong_types(make: Maker) -> Iterator[Hostile]:
    """Every value of a good object of every kind, replaced by each wrong one."""
    for kind in KINDS:
        for path in _paths(make(kind)):
            for name, wrong in WRONG.items():
                item = make(kind)
                holder: Any = item
                for step in path[:-1]:
                    holder = holder[step]
                holder[path[-1]] = wrong
                field = ".".join(map(str, path))
                fits = [names for pattern, names in HARMLESS.items() if fnmatchcase(f"{kind}.{field}", pattern)]
                harmless = any(name in names.split() for names in fits)
                yield _json(f"{kind}.{field}: {name}", item, harmless)


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*above, step)
        yield from _paths(inner, (*above, step))


def _tricks(make: Maker) -> Iterator[Hostile]:
    """Objects with valid types and invalid values."""

    def route(kind: str, *rules: Any) -> dict[str, Any]:
        return {**make(kind), "spec": {"parentRefs": [PARENT], "rules": list(rules)}}

    yield _json("10 000 rules", route("HTTPRoute", *[{}] * 10_000))
    yield _json("5 000 backends", route("HTTPRoute", {"backendRefs": [BACKEND] * 5_000}))
    yield _json("5 000 matches", route("HTTPRoute", {"matches": [{}] * 5_000}))
    for regex in ("(", "(?=a)", "(a{1000}){1000}", "a" * 5_000, "\\", "[[:nope:]]"):
        match = {"path": {"type": "RegularExpression", "value": regex}}
        yield _json(f"regex {regex[:20]}", route("HTTPRoute", {"matches": [match], "backendRefs": [BACKEND]}))
    for value in ("a\r\nb: c", "a\x00"):
        change = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": value}]}}
        yield _json(f"header {value!r}", route("HTTPRoute", {"filters": [change], "backendRefs": [BACKEND]}))
    for weight in (-1, 2**31, 1e400, 0.5, "1"):
        yield _json(f"weight {weight}", route("TCPRoute", {"backendRefs": [BACKEND | {"weight": weight}]}))
    port = {"name": "http", "port": 80}
    yield _json("port twice", make("Service") | {"spec": {"ports": [port, port]}})
    yield _json("another's address", make("Service") | {"spec": {"clusterIP": "10.96.0.1", "ports": [port]}})
    for name in ("..", "../etc", "a b", "\u00e9", "bad\nname", "bad\x1b[31m"):
        yield _json(f"name {name!r}", make("Service") | {"metadata": {"name": name, "namespace": "app"}})
    yield _json("long name", make("TCPRoute") | {"metadata": {"name": "x" * 100_000, "namespace": "app"}})
    labelled = make("Service")
    labelled["metadata"]["labels"] = {"weft.dev/mode": "\n"}
    yield _json("mode newline", labelled)
    yield Hostile("list of lists", json.dumps({"apiVersion": "v1", "kind": "List", "items": [[[[]]]]}))


def _texts(_: Maker) -> Iterator[Hostile]:
    """Texts that are no YAML or JSON document."""
    for text in (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 2_000,
        "{" * 2_000,
        "kind: HTTPRoute\nkind: Service\n",
        "!!python/object/apply:os.system [true]\n",
        "\t- x",
        "? [a]\n: b\n",
        ".nan",
        "kind: Service\napiVersion: v1\nmetadata: {name: nan}\nspec: {ports: [{port: .nan}]}\n",
    ):
        yield Hostile(text[:30], text, is_json=False)
