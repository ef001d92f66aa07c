"""Envoy's config dump, and how it differs from what Envoy acknowledged. No input, no output, no clock.

The dump shows listeners, clusters, route tables and filters with their version. It shows endpoints without one; their
addresses take its place.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

import msgspec

from agent.ir.addresses import canonical
from agent.ir.resources import Dump, Json, ResourceName, ResourceType

Served = Mapping[ResourceName, Collection[str]]


@dataclass(frozen=True, slots=True)
class Drift:
    """`lacks`: resources that Envoy acknowledged and does not serve so. `keeps`: resources that it should not serve."""

    lacks: frozenset[ResourceName] = frozenset()
    keeps: frozenset[ResourceName] = frozenset()

    def __len__(self) -> int:
        return len(self.lacks) + len(self.keeps)

    def __and__(self, other: "Drift") -> "Drift":
        return Drift(self.lacks & other.lacks, self.keeps & other.keeps)

    def lines(self) -> list[str]:
        """For people, one line for each."""
        lacks = (f"{name}: not served as acknowledged" for name in self.lacks)
        keeps = (f"{name}: served, and not part of the configuration" for name in self.keeps)
        return sorted([*lacks, *keeps])


def compare(acknowledged: Mapping[ResourceName, str], sent: Collection[ResourceName], served: Served) -> Drift:
    """`acknowledged` are the versions that the dump should show; `sent` are all resources that Envoy was sent."""
    audited = {name: shown for name, shown in acknowledged.items() if name.kind.dump.lists}
    return Drift(
        frozenset(name for name, shown in audited.items() if shown not in served.get(name, ())),
        frozenset(name for name in served if name.kind.owned and name not in sent),
    )


def shown(name: ResourceName, resource: Json, version: str) -> str:
    """What the dump should show for a resource: its version, or its addresses."""
    return addresses(resource) if name.kind is ResourceType.ENDPOINT else version


def addresses(assignment: Json) -> str:
    """The addresses of a ClusterLoadAssignment."""
    groups = assignment.get("endpoints", ())
    sockets = (
        item["endpoint"]["address"]["socket_address"] for group in groups for item in group.get("lb_endpoints", ())
    )
    found = {f"{canonical(socket['address'])}!{socket['port_value']}" for socket in sockets}
    return " ".join(sorted(found))


def read(kind: ResourceType, dump: str) -> Iterator[tuple[ResourceName, str]]:
    """The resources in a dump of one of the type's queries; a resource can have two versions, one of them warming.

    Raises `ValueError`, `LookupError`, `TypeError`, while it is read, for a dump of another shape.
    """
    where = kind.dump
    for entry in _entries(where, msgspec.json.decode(dump).get("configs", ())):
        name = ResourceName(kind, _at(entry, where.name))
        if where.content:
            yield name, addresses(_at(entry, where.content.rpartition(".")[0]))
        for path in where.versions:
            holder, _, field = path.rpartition(".")
            if not holder or holder in entry:
                yield name, _at(entry, holder).get(field, "")


def _entries(where: Dump, configs: Iterable[Any]) -> Iterable[Any]:
    """The entries of a dump: those of a query by resource, or those of all parts."""
    if not where.is_split:
        return configs
    return (entry for part in configs for item in where.lists for entry in part.get(item, ()))


def _at(entry: Any, path: str) -> Any:
    """What is at a path in a dump's entry; the entry itself where the path is empty."""
    return reduce(getitem, path.split("."), entry) if path else entry
