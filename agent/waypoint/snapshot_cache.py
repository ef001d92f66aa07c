"""Published resources, encoded: once for all Envoys, except listeners, which have each Envoy's own addresses."""

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.waypoint.config_dump import shown
from agent.waypoint.encode import Encoded, EncodeError, encode
from agent.waypoint.messages import Snapshot

log = logging.getLogger(__name__)


class _Item(NamedTuple):
    """An encoded resource, and its source; a listener has a port."""

    encoded: Encoded
    source: Json
    port: int | None


class SnapshotCache:
    """Resources by name, and their bytes by name and addresses.

    A resource that can no longer be encoded, which is a bug, stays as it last was: its traffic goes on.
    """

    def __init__(self, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._errors = errors or InternalErrors()
        self._sources: dict[ResourceName, tuple[Json, int | None]] = {}
        self._items: dict[tuple[ResourceName, Addresses], _Item | None] = {}
        self._former: dict[tuple[ResourceName, Addresses], _Item] = {}
        self.unencodable: dict[ResourceName, str] = {}

    def replace(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> bool:
        """Replace all resources; returns whether anything differs."""
        wanted = {
            name: (resource, ports.get(name.name) if name.kind is ResourceType.LISTENER else None)
            for name, resource in resources.items()
        }
        gone = self._sources.keys() - wanted.keys()
        changed = {name for name, source in wanted.items() if self._sources.get(name) != source} | gone
        self._sources = wanted
        self.unencodable = {name: text for name, text in self.unencodable.items() if name not in changed}
        self._former |= {key: item for key, item in self._items.items() if item is not None and key[0] in changed}
        self._former = {key: item for key, item in self._former.items() if key[0] not in gone}
        self._items = {key: item for key, item in self._items.items() if key[0] not in changed}
        for name in gone:
            self._errors.forget("encode", name)
        return bool(changed)

    def forget(self, addresses: Addresses) -> None:
        """Drop what was encoded for these addresses: no Envoy has them any more."""
        self._items = {key: item for key, item in self._items.items() if key[1] != addresses}
        self._former = {key: item for key, item in self._former.items() if key[1] != addresses}

    def get(self, name: ResourceName, addresses: Addresses) -> Encoded | None:
        """A resource as the Envoy at these addresses gets it; None when there is none, or it never could be encoded."""
        item = self._item(name, addresses)
        return item.encoded if item is not None else None

    def versions(self, addresses: Addresses) -> dict[ResourceName, str]:
        """Every resource of the Envoy at these addresses, with its version."""
        return {name: item.version for name, item in self._encoded(addresses).items()}

    def snapshot(self, addresses: Addresses) -> Snapshot:
        """Every resource of the Envoy at these addresses, as its stream wants it."""
        found = self._encoded(addresses)
        return Snapshot(
            {name: item.version for name, item in found.items()},
            {name: item.cluster_refs for name, item in found.items() if item.cluster_refs},
            {name: len(item.packed.value) for name, item in found.items()},
        )

    def _encoded(self, addresses: Addresses) -> dict[ResourceName, Encoded]:
        return {name: encoded for name in self._sources if (encoded := self.get(name, addresses)) is not None}

    def shown(self, names: Iterable[ResourceName], addresses: Addresses) -> dict[ResourceName, str]:
        """What the config dump of the Envoy at these addresses should show for these."""
        found = ((name, self._item(name, addresses)) for name in names)
        return {name: shown(name, item.source, item.encoded.version) for name, item in found if item is not None}

    def _item(self, name: ResourceName, addresses: Addresses) -> _Item | None:
        key = name, addresses if name.kind is ResourceType.LISTENER else Addresses()
        if key not in self._items and name in self._sources:
            former = self._former.pop(key, None)
            # With another port it would belong to another listener.
            stays = former is not None and former.port == self._sources[name][1]
            self._items[key] = former if stays else None
            with self._errors.guard("encode", name):
                self._items[key] = self._encode(name, addresses) or self._items[key]
        return self._items.get(key)

    def _encode(self, name: ResourceName, addresses: Addresses) -> _Item | None:
        """A resource as it is now, None when its message cannot hold it."""
        source, port = self._sources[name]
        try:
            return _Item(encode(name, source, addresses, port), source, port)
        except EncodeError as error:
            self.unencodable[name] = str(error)
            log.error("resource cannot be encoded", extra={"error": str(error)})
            return None
