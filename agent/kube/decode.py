"""Decodes objects into typed values. No other module sees the JSON of Kubernetes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from agent.kube.lists import flattened
from agent.kube.schema import violation
from agent.kube.undecodable_facts import facts
from agent.model import authorization, core, discovery, grants, multicluster, parameters, routes
from agent.model.change import Problem
from agent.model.meta import Object
from agent.model.multicluster import GROUP as MULTICLUSTER

WEFT = authorization.GROUP
GATEWAY = "gateway.networking.k8s.io"
EXPERIMENTAL = parameters.MESH_GROUP
# The kinds that weft decodes, with their apiVersions: those that a server with Gateway API v1.7 can store, older ones,
# those of the Multi-Cluster Services API v0.5, and weft's own.
KINDS: Mapping[str, tuple[type[Object], tuple[str, ...]]] = {
    "Namespace": (core.Namespace, ("v1",)),
    "Node": (core.Node, ("v1",)),
    "Pod": (core.Pod, ("v1",)),
    "RuntimeClass": (core.RuntimeClass, ("node.k8s.io/v1",)),
    "Service": (core.Service, ("v1",)),
    "ServiceCIDR": (core.ServiceCIDR, ("networking.k8s.io/v1",)),
    "EndpointSlice": (discovery.EndpointSlice, ("discovery.k8s.io/v1",)),
    "ServiceImport": (multicluster.ServiceImport, (f"{MULTICLUSTER}/v1beta1", f"{MULTICLUSTER}/v1alpha1")),
    "HTTPRoute": (routes.HTTPRoute, (f"{GATEWAY}/v1", f"{GATEWAY}/v1beta1")),
    "GRPCRoute": (routes.GRPCRoute, (f"{GATEWAY}/v1",)),
    "TCPRoute": (routes.TCPRoute, (f"{GATEWAY}/v1", f"{GATEWAY}/v1alpha2")),
    "UDPRoute": (routes.UDPRoute, (f"{GATEWAY}/v1", f"{GATEWAY}/v1alpha2")),
    "TLSRoute": (routes.TLSRoute, (f"{GATEWAY}/v1", f"{GATEWAY}/v1alpha3", f"{GATEWAY}/v1alpha2")),
    "ReferenceGrant": (grants.ReferenceGrant, (f"{GATEWAY}/v1", f"{GATEWAY}/v1beta1")),
    authorization.KIND: (authorization.AuthorizationPolicy, (f"{WEFT}/v1alpha1",)),
    parameters.KIND: (parameters.MeshParameters, (f"{WEFT}/v1alpha1",)),
    parameters.MESH: (parameters.XMesh, (f"{EXPERIMENTAL}/v1alpha1",)),
}
# The groups whose kinds exist only where their CRDs are installed.
DEFINED = (GATEWAY, EXPERIMENTAL, MULTICLUSTER, WEFT)
CLUSTER_SCOPED = ("Namespace", "Node", "RuntimeClass", "ServiceCIDR", parameters.KIND, parameters.MESH)
# Built into some servers only: ServiceCIDR exists since Kubernetes 1.33.
OPTIONAL = ("ServiceCIDR",)
# In the spec of these kinds null is an error: a field that is not there has a meaning of its own.
NO_NULLS = (authorization.KIND, parameters.KIND)
_WHERE = re.compile(r"^(?P<message>.*) - at `(?P<path>.*)`$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class IgnoredDocument:
    """A document of a kind that weft does not use: `apps/v1 Deployment`, on one line."""

    kind: str


def decode(document: Any, where: str) -> Iterator[Object | Problem]:
    """Every object in a parsed document, or its problem. Documents of kinds that weft does not use are left out."""
    return (found for _, found in decode_all(document, where) if not isinstance(found, IgnoredDocument))


def decode_all(document: Any, where: str) -> Iterator[tuple[str, Object | Problem | IgnoredDocument]]:
    """Every object in a parsed document, or its problem, with its location. A list is decoded item by item.

    The problem of an AuthorizationPolicy or of MeshParameters has the fact that it could not be decoded. `where` is the
    file and line of the document.
    """
    for location, item in flattened(document, where):
        found = item if isinstance(item, Problem) else _decode_one(item, location)
        if isinstance(found, Problem) and isinstance(item, dict):
            found = replace(found, facts=facts(item, item.get("kind"), found))
        yield location, found


def _decode_one(document: Any, where: str) -> Object | Problem | IgnoredDocument:
    if not isinstance(document, dict):
        return Problem(where, "document", "$", f"expected an object, got {type(document).__name__}")
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return Problem(where, _subject(document), "kind" if not isinstance(kind, str) else "apiVersion", "is missing")
    if kind not in KINDS or not _ours(version, KINDS[kind][1]):
        return IgnoredDocument(ascii(f"{version} {kind}")[1:-1][:200])
    _, versions = KINDS[kind]
    if version not in versions:
        return Problem(where, _subject(document), "apiVersion", f"{version!r} is none of {', '.join(versions)}")
    return _convert(_with_namespace(document, kind), kind, where, _subject(document))


def decode_json(raw: bytes, kind: str, where: str) -> Object | Problem:
    """One object from a server, decoded directly into its type. Only unusual objects take the slower path.

    A server writes null for an empty list (Go's nil slices: an EndpointSlice without endpoints); that means absent.
    """
    try:
        found = msgspec.json.decode(raw, type=KINDS[kind][0])
    except (msgspec.DecodeError, RecursionError, OverflowError):
        return _decode_unusual(raw, kind, where)
    return _decode_unusual(raw, kind, where) if violation(found) else found


def _decode_unusual(raw: bytes, kind: str, where: str) -> Object | Problem:
    try:
        document = _without_nulls(msgspec.json.decode(raw), kind)
    except (msgspec.DecodeError, RecursionError, OverflowError) as error:
        return Problem(where, kind, "$", str(error))
    if not isinstance(document, dict):
        return Problem(where, kind, "$", f"expected an object, got {type(document).__name__}")
    return _convert(document, kind, where, _subject({**document, "kind": kind}))


def _without_nulls(document: Any, kind: str) -> Any:
    """A parsed object without null values, except where they are errors."""
    plain = without_nulls(document)
    if kind in NO_NULLS and isinstance(plain, dict) and "spec" in document:
        return {**plain, "spec": document["spec"]}
    return plain


def without_nulls(value: Any) -> Any:
    """Parsed JSON without null values."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _convert(document: dict[Any, Any], kind: str, where: str, subject: str) -> Object | Problem:
    try:
        found = msgspec.convert(document, KINDS[kind][0])
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        field, message = _explain(error)
        return Problem(where, subject, field, message)
    bad = violation(found)
    return Problem(where, subject, *bad) if bad else found


def _ours(version: str, versions: tuple[str, ...]) -> bool:
    """Whether the version is of the same API group. A kind of that name in another group is not decoded."""
    return version.rpartition("/")[0] == versions[0].rpartition("/")[0]


def _with_namespace(document: dict[Any, Any], kind: str) -> dict[Any, Any]:
    """The document with the namespace that the API server would give it."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return document
    if kind in CLUSTER_SCOPED:
        return {**document, "metadata": {**metadata, "namespace": ""}}
    return {**document, "metadata": {**metadata, "namespace": metadata.get("namespace", "default")}}


def _explain(error: Exception) -> tuple[str, str]:
    """The field and message of a decoder's error."""
    found = _WHERE.match(str(error))
    if found is None:
        return "$", str(error) or type(error).__name__
    # For a mapping's key msgspec says "key` in `$.metadata.labels".
    return found["path"].rpartition("`")[2].removeprefix("$."), found["message"]


def _subject(document: dict[Any, Any]) -> str:
    """Kind, namespace and name, as far as they can be read; at most 200 characters."""
    metadata = document.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    parts = (named.get("namespace"), named.get("name"))
    name = "/".join(part for part in parts if isinstance(part, str))
    return ascii(f"{document.get('kind')} {name or '(no name)'}")[1:-1][:200]
