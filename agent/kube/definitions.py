"""Discovery: the kinds of the cluster, from CustomResourceDefinitions and from the API's resource lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from agent.kube.collection import Collection
from agent.kube.decode import GATEWAY
from agent.model.change import Keyed, Problem
from agent.model.meta import Key, Object, Value

# The Gateway API's group, and the group of its experimental kinds.
GATEWAY_GROUPS = (GATEWAY, "gateway.networking.x-k8s.io")
CHANNEL = "gateway.networking.k8s.io/channel"
BUNDLE = "gateway.networking.k8s.io/bundle-version"
# Only their metadata: the schemas of a large cluster's CRDs are tens of megabytes.
_METADATA = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadata"


class Definition(Object, frozen=True):
    """A CustomResourceDefinition's metadata; its name is `httproutes.gateway.networking.k8s.io`."""


class Bundle(NamedTuple):
    """The release channel and version that a CRD's annotations name."""

    channel: str
    version: str


class _Group(Value, frozen=True):
    """`/apis/GROUP`."""

    class Version(Value, frozen=True):
        group_version: str

    versions: tuple[Version, ...] = ()


class _Resources(Value, frozen=True):
    """`/apis/GROUP/VERSION`."""

    class Resource(Value, frozen=True):
        name: str

    resources: tuple[Resource, ...] = ()


def group_versions(body: bytes) -> tuple[str, ...]:
    """The apiVersions of a group. Raises `msgspec.DecodeError`."""
    return tuple(item.group_version for item in msgspec.json.decode(body, type=_Group).versions)


def resources(body: bytes) -> frozenset[str]:
    """The plurals of an apiVersion. Raises `msgspec.DecodeError`."""
    return frozenset(item.name for item in msgspec.json.decode(body, type=_Resources).resources)


def best_versions(wanted: Iterable[Collection], contents: Mapping[str, frozenset[str]]) -> dict[Collection, str]:
    """The best version of each collection that the server has. `contents` are the plurals by apiVersion."""
    found: dict[Collection, str] = {}
    for collection in wanted:
        always = not collection.defined and not collection.optional
        there = [v for v in collection.versions if always or collection.plural in contents.get(v, ())]
        if there:
            found[collection] = there[0]
    return found


def definitions() -> Collection:
    """The collection of all CustomResourceDefinitions."""
    return Collection(
        "CustomResourceDefinition",
        ("apiextensions.k8s.io/v1",),
        _read,
        accept=(_METADATA.replace("Metadata", "MetadataList"), _METADATA),
    )


def _read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
    try:
        return (msgspec.json.decode(raw, type=Definition),)
    except msgspec.DecodeError as error:
        return Problem(where, "CustomResourceDefinition", "$", str(error))


def bundles(known: Mapping[Key, Definition], wanted: Iterable[Collection]) -> list[Bundle]:
    """The Gateway API's channels and versions: one, if all CRDs were installed together."""
    names = {f"{collection.plural}.{collection.group}" for collection in wanted if collection.group in GATEWAY_GROUPS}
    notes = [value.metadata.annotations for key, value in known.items() if key.name in names]
    return sorted({Bundle(note.get(CHANNEL, "unknown"), note.get(BUNDLE, "unknown")) for note in notes})
