"""The xDS resources that Envoy is given: their types, each a record, and their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

Json = Mapping[str, Any]


class Dump(NamedTuple):
    """Where `/config_dump` of Envoy's admin interface shows the resources of a type.

    - `lists`: the dump's fields that contain them.
    - `name`, `versions`: paths in one entry; versions may be absent.
    - `content`: the path of the content, for a type without versions in the dump.
    - `is_split`: several parts of the dump have this list. A query by resource shows the first of them only.
    """

    lists: tuple[str, ...]
    name: str = "name"
    versions: tuple[str, ...] = ("version_info",)
    content: str = ""
    is_split: bool = False

    @property
    def queries(self) -> tuple[str, ...]:
        """One for each list: only names and versions, since a dump of everything is all of the configuration. Without a
        resource, a mask cannot select fields of a list's entries.
        """
        if self.is_split:
            return tuple(f"mask={item}" for item in self.lists)
        mask = ",".join(filter(None, (self.name, *self.versions, self.content)))
        # Endpoints are in no dump unless they are asked for.
        flag = "include_eds&" if self.content else ""
        return tuple(f"{flag}resource={item}&mask={mask}" for item in self.lists)


NO_DUMP = Dump(())


class ResourceType(StrEnum):
    """The types of resource, by their type URL, in the order in which they are sent: a type comes before those that
    refer to it.

    - `message`: the protobuf class, as `module:class`.
    - `owned`: Envoy subscribes to all resources of the type (`*`), and keeps all that it was sent. To resources of the
      other types it subscribes by name, and keeps those in use.
    - `dump`: a type without one is not audited.
    """

    message: str
    owned: bool
    dump: Dump

    def __new__(cls, message: str, owned: bool = False, dump: Dump = NO_DUMP) -> "ResourceType":
        """A member's value is its type URL."""
        module, _, name = message.partition(":")
        url = f"type.googleapis.com/{module.rpartition('.')[0]}.{name}"
        member = str.__new__(cls, url)
        member._value_, member.message, member.owned, member.dump = url, message, owned, dump
        return member

    CLUSTER = (
        "envoy.config.cluster.v3.cluster_pb2:Cluster",
        True,
        Dump(("dynamic_active_clusters", "dynamic_warming_clusters"), "cluster.name"),
    )
    ENDPOINT = (
        "envoy.config.endpoint.v3.endpoint_pb2:ClusterLoadAssignment",
        False,
        Dump(("dynamic_endpoint_configs",), "endpoint_config.cluster_name", (), "endpoint_config.endpoints"),
    )
    EXTENSION = (
        "envoy.config.core.v3.extension_pb2:TypedExtensionConfig",
        False,
        # HTTP filters and network filters are in a part each.
        Dump(("ecds_filters",), "ecds_filter.name", is_split=True),
    )
    LISTENER = (
        "envoy.config.listener.v3.listener_pb2:Listener",
        True,
        Dump(("dynamic_listeners",), "name", ("active_state.version_info", "warming_state.version_info")),
    )
    ROUTE = (
        "envoy.config.route.v3.route_pb2:RouteConfiguration",
        False,
        Dump(("dynamic_route_configs",), "route_config.name"),
    )

    RUNTIME = ("envoy.service.runtime.v3.rtds_pb2:Runtime",)

    @property
    def label(self) -> str:
        """The type's name for people: the message's."""
        return self.rpartition(".")[2]


@dataclass(frozen=True, slots=True, order=True)
class ResourceName:
    """One xDS resource."""

    kind: ResourceType
    name: str

    def __str__(self) -> str:
        return f"{self.kind.label} {self.name}"
