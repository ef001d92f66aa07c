"""Which EndpointSlices name an address. There can be a hundred thousand: mostly one slice each, hence no sets."""

from collections.abc import Iterator

from agent.model.core import normalized_address
from agent.model.discovery import EndpointSlice
from agent.model.meta import Key


class EndpointIndex:
    """Slices, as keys, by the addresses of their endpoints."""

    def __init__(self) -> None:
        self._slices: dict[str, tuple[Key, ...]] = {}

    def replace(self, key: Key, old: object, new: object) -> set[str]:
        """Add, replace or remove a slice; returns the addresses that it gained or lost."""
        before, after = set(_addresses(old)), set(_addresses(new))
        for address in before - after:
            left = tuple(other for other in self._slices[address] if other != key)
            if left:
                self._slices[address] = left
            else:
                del self._slices[address]
        for address in after - before:
            self._slices[address] = (*self._slices.get(address, ()), key)
        return before ^ after

    def slices(self, address: str) -> tuple[Key, ...]:
        """The slices with an address, which is in canonical form."""
        return self._slices.get(address, ())


def _addresses(value: object) -> Iterator[str]:
    if isinstance(value, EndpointSlice) and value.address_type != "FQDN":
        for endpoint in value.endpoints:
            yield normalized_address(endpoint.addresses[0])


def endpoint_locations(value: object) -> set[tuple[str, str]]:
    """The addresses of a slice's endpoints, each with the node that it is on; those without a node are left out."""
    if not isinstance(value, EndpointSlice) or value.address_type == "FQDN":
        return set()
    found = ((normalized_address(endpoint.addresses[0]), endpoint.node_name) for endpoint in value.endpoints)
    return {(address, node) for address, node in found if node}
