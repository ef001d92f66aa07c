"""Fields of manifests that are ignored: misspelt ones, or ones of another version of the API.

An API server drops fields that its definition of the kind does not have, without an error, so that weft never gets
them. Two sources are checked here: the given CustomResourceDefinitions, and weft's own model, which has every field of
the definitions whose objects it reads, those of the Gateway API, of imports and of policies.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from msgspec import inspect

from agent.kube import lists
from agent.kube.decode import DEFINED, KINDS
from agent.kube.definitions import BUNDLE, CHANNEL
from agent.model.change import Problem
from agent.model.meta import Key

# Fields that weft need not read: the first is for Gateways only (GEP-3793), the second follows from an import's
# addresses, the third is what an XMesh says to people.
NOT_NEEDED = frozenset({"spec.useDefaultGateways", "spec.ipFamilies", "spec.description"})
CHECKED = tuple(kind for kind, (_, versions) in KINDS.items() if versions[0].startswith(DEFINED))
# What every object has. Metadata and status are the server's own to check.
ENVELOPE = ("apiVersion", "kind", "metadata", "spec", "status")


class IgnoredField(NamedTuple):
    """A field that is ignored, by its JSON path, and the reason."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Definitions:
    """The schemas of kinds by (apiVersion, kind), each with its release."""

    schemas: Mapping[tuple[str, str], tuple[dict[str, Any], str]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[Any]) -> "Definitions":
        """Those among parsed documents that are CustomResourceDefinitions."""
        found: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
        for document in documents:
            if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
                found |= _schemas(document)
        return cls(found)


def flattened(document: Any) -> Iterator[Any]:
    """A document, or the items of the list that it is."""
    return (item for _, item in lists.flattened(document, "") if not isinstance(item, Problem))


def subject(document: dict[str, Any]) -> str:
    """The object's name in findings: `HTTPRoute faces/smiley`."""
    metadata = _object(document.get("metadata"))
    return str(Key(str(document.get("kind")), str(metadata.get("namespace", "default")), str(metadata.get("name"))))


def ignored_fields(document: Any, definitions: Definitions) -> Iterator[IgnoredField]:
    """The fields of one object that are ignored; nothing for kinds that are not checked."""
    kind, version = (str(_object(document).get(name)) for name in ("kind", "apiVersion"))
    if kind not in CHECKED or version not in KINDS[kind][1]:
        return
    dropped: set[str] = set()
    if (version, kind) in definitions.schemas:
        schema, release = definitions.schemas[version, kind]
        for path in _outside_schema(document, schema, ""):
            dropped.add(path)
            yield IgnoredField(path, f"is not in the installed definition ({release}): the API server drops it")
    for path in _outside_model(document, inspect.type_info(KINDS[kind][0]), ""):
        if path not in NOT_NEEDED and path not in dropped:
            yield IgnoredField(path, "is unknown: it has no effect")


def _schemas(document: dict[str, Any]) -> dict[tuple[str, str], tuple[dict[str, Any], str]]:
    """The schemas of a CustomResourceDefinition by version; none where it is malformed."""
    spec, notes = _object(document.get("spec")), _object(_object(document.get("metadata")).get("annotations"))
    release = ", ".join(str(notes[name]) for name in (BUNDLE, CHANNEL) if name in notes) or "of no named release"
    kind = _object(spec.get("names")).get("kind")
    return {
        (f"{spec.get('group')}/{version.get('name')}", str(kind)): (schema, release)
        for version in map(_object, _list(spec.get("versions")))
        if (schema := _object(_object(version.get("schema")).get("openAPIV3Schema")))
    }


def _outside_schema(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """The paths in a value that a structural schema does not have."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list) and (items := _object(schema.get("items"))):
        for position, item in enumerate(value):
            yield from _outside_schema(item, items, f"{path}[{position}]")
    properties = _object(schema.get("properties"))
    if not isinstance(value, dict) or not properties:
        return  # a map of any names, or nothing that is looked into
    for name, item in value.items():
        where = f"{path}.{name}" if path else str(name)
        if name in properties:
            yield from _outside_schema(item, _object(properties[name]), where)
        elif path or name not in ENVELOPE:
            yield where


def _outside_model(value: Any, known: inspect.Type, path: str) -> Iterator[str]:
    """The paths in a value that a type of the model does not have."""
    if isinstance(known, inspect.UnionType):
        known = next(item for item in known.types if not isinstance(item, inspect.NoneType))
    if isinstance(known, inspect.VarTupleType) and isinstance(value, list):
        for position, item in enumerate(value):
            yield from _outside_model(item, known.item_type, f"{path}[{position}]")
    if not isinstance(known, inspect.StructType) or not isinstance(value, dict):
        return
    types = {item.encode_name: item.type for item in known.fields}
    for name, item in value.items():
        where = f"{path}.{name}" if path else str(name)
        if not path and name in ENVELOPE and name != "spec":
            continue
        if name in types:
            yield from _outside_model(item, types[name], where)
        else:
            yield where


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
