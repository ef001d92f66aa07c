"""What an Envoy serves, as its admin interface shows it, and how far that is from what it acknowledged. No input, no
output, no clock.

Listeners, clusters, route tables and filters are shown with the version that they came in; endpoints without, so that
their addresses stand for it.
"""

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from agent.plan.plan import Json, ResourceName, Xds

# A dump of everything would be all of the configuration; these are names and versions.
QUERIES: tuple[tuple[Xds, str], ...] = (
    (Xds.CLUSTER, "resource=dynamic_active_clusters&mask=version_info,cluster.name"),
    (Xds.CLUSTER, "resource=dynamic_warming_clusters&mask=version_info,cluster.name"),
    (Xds.ENDPOINT, "include_eds&resource=dynamic_endpoint_configs"
     "&mask=endpoint_config.cluster_name,endpoint_config.endpoints"),
    (Xds.EXTENSION, "resource=ecds_filters&mask=version_info,ecds_filter.name"),
    (Xds.LISTENER, "resource=dynamic_listeners&mask=name,active_state.version_info,warming_state.version_info"),
    (Xds.ROUTE, "resource=dynamic_route_configs&mask=version_info,route_config.name"),
)  # fmt: skip
# Of these Envoy has all that it was sent; of the others it keeps what something still uses.
OWNED = (Xds.CLUSTER, Xds.LISTENER)

Served = Mapping[ResourceName, Collection[str]]


@dataclass(frozen=True, slots=True)
class Drift:
    """Resources that Envoy acknowledged and does not have so, and those that it has and should not."""

    lacks: frozenset[ResourceName] = frozenset()
    keeps: frozenset[ResourceName] = frozenset()

    def __len__(self) -> int:
        return len(self.lacks) + len(self.keeps)

    def __and__(self, other: "Drift") -> "Drift":
        return Drift(self.lacks & other.lacks, self.keeps & other.keeps)

    def lines(self) -> list[str]:
        """For people, one line for each."""
        lacks = (f"{name}: not served as acknowledged" for name in self.lacks)
        keeps = (f"{name}: served and not wanted" for name in self.keeps)
        return sorted([*lacks, *keeps])


def compare(believed: Mapping[ResourceName, str], told: Collection[ResourceName], served: Served) -> Drift:
    """`believed` is what an Envoy acknowledged, as it should be shown; `told` is all that it was sent."""
    return Drift(
        frozenset(name for name, shown in believed.items() if shown not in served.get(name, ())),
        frozenset(name for name in served if name.kind in OWNED and name not in told),
    )


def shown(name: ResourceName, resource: Json, version: str) -> str:
    """How a resource shows that it is the one that was sent."""
    return addresses(resource) if name.kind is Xds.ENDPOINT else version


def addresses(assignment: Json) -> str:
    """The addresses of a ClusterLoadAssignment."""
    groups = assignment.get("endpoints", ())
    sockets = (
        item["endpoint"]["address"]["socket_address"] for group in groups for item in group.get("lb_endpoints", ())
    )
    found = {f"{_shortest(socket['address'])}!{socket['port_value']}" for socket in sockets}
    return " ".join(sorted(found))


@lru_cache(maxsize=2**16)
def _shortest(address: str) -> str:
    """An address as Python writes it: Envoy may write it otherwise."""
    return str(ipaddress.ip_address(address))


def read(kind: Xds, dump: str) -> Iterator[tuple[ResourceName, str]]:
    """The resources in an answer to one of the queries. Raises `ValueError`, `LookupError`, `TypeError`, as it is read,
    where that makes no sense.
    """
    for entry in msgspec.json.decode(dump).get("configs", ()):
        for name, found in _entry(kind, entry):
            yield ResourceName(kind, name), found


def _entry(kind: Xds, entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """One resource; a listener can be there in two versions, of which one warms."""
    match kind:
        case Xds.LISTENER:
            for state in ("active_state", "warming_state"):
                if state in entry:
                    yield entry["name"], entry[state].get("version_info", "")
        case Xds.ENDPOINT:
            yield entry["endpoint_config"]["cluster_name"], addresses(entry["endpoint_config"])
        case Xds.CLUSTER:
            yield entry["cluster"]["name"], entry.get("version_info", "")
        case Xds.ROUTE:
            yield entry["route_config"]["name"], entry.get("version_info", "")
        case Xds.EXTENSION:
            yield entry["ecds_filter"]["name"], entry.get("version_info", "")
