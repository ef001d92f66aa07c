"""Which EndpointSlices name an address. There can be a hundred thousand: mostly one slice each, hence no sets."""

from collections.abc import Iterator

from agent.model.core import EndpointSlice, shortest
from agent.model.meta import Key


class EndpointIndex:
    """Slices, as keys, by the addresses of their endpoints."""

    def __init__(self) -> None:
        self._slices: dict[str, tuple[Key, ...]] = {}

    def replace(self, key: Key, old: object, new: object) -> set[str]:
        """A slice is a new one, was another, or is none any more; returns the addresses of which that is news."""
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
        """The slices that name an address, which is written shortest."""
        return self._slices.get(address, ())


def _addresses(value: object) -> Iterator[str]:
    if isinstance(value, EndpointSlice) and value.address_type != "FQDN":
        for endpoint in value.endpoints:
            yield shortest(endpoint.addresses[0])
