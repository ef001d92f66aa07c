"""What Envoys shall have, encoded: once for all of them, but for listeners, which are at each Envoy's own address."""

import logging
from collections.abc import Iterable, Mapping

from agent.plan.plan import Json, ResourceName, Xds
from agent.waypoint.encode import Encoded, EncodeError, encode
from agent.waypoint.served import shown

log = logging.getLogger(__name__)


class Catalogue:
    """Resources by name, and their bytes by name and address."""

    def __init__(self) -> None:
        self._sources: dict[ResourceName, tuple[Json, int | None]] = {}
        self._encoded: dict[tuple[ResourceName, str], Encoded | None] = {}
        self.unencodable: dict[ResourceName, str] = {}

    def replace(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> bool:
        """Have these resources and no others; says whether anything is different."""
        wanted = {
            name: (resource, ports.get(name.name) if name.kind is Xds.LISTENER else None)
            for name, resource in resources.items()
        }
        changed = {name for name, source in wanted.items() if self._sources.get(name) != source}
        changed |= self._sources.keys() - wanted.keys()
        self._sources = wanted
        self.unencodable = {name: text for name, text in self.unencodable.items() if name not in changed}
        self._encoded = {key: found for key, found in self._encoded.items() if key[0] not in changed}
        return bool(changed)

    def forget(self, address: str) -> None:
        """No Envoy is at this address any more."""
        self._encoded = {key: found for key, found in self._encoded.items() if key[1] != address}

    def get(self, name: ResourceName, address: str) -> Encoded | None:
        """A resource as the Envoy at this address gets it; None when there is none, or it cannot be encoded."""
        key = name, address if name.kind is Xds.LISTENER else ""
        if key not in self._encoded and name in self._sources:
            self._encoded[key] = self._encode(name, address)
        return self._encoded.get(key)

    def versions(self, address: str) -> dict[ResourceName, str]:
        """Every resource of the Envoy at this address, with its version."""
        found = ((name, self.get(name, address)) for name in self._sources)
        return {name: encoded.version for name, encoded in found if encoded is not None}

    def leads(self, address: str) -> dict[ResourceName, frozenset[str]]:
        """The clusters that resources name."""
        found = ((name, self.get(name, address)) for name in self._sources)
        return {name: encoded.leads for name, encoded in found if encoded is not None and encoded.leads}

    def shown(self, names: Iterable[ResourceName], address: str) -> dict[ResourceName, str]:
        """How the Envoy at this address shows that it has these."""
        found = ((name, self.get(name, address)) for name in names)
        return {name: shown(name, self._sources[name][0], item.version) for name, item in found if item is not None}

    def _encode(self, name: ResourceName, address: str) -> Encoded | None:
        resource, port = self._sources[name]
        try:
            return encode(name, resource, address, port)
        except EncodeError as error:
            self.unencodable[name] = str(error)
            log.error("resource cannot be encoded", extra={"error": str(error)})
            return None
