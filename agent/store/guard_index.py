"""Which nodes report an address as that of a protected pod. A cluster can have a hundred thousand, hence no sets."""

from agent.model.facts import NodeReport
from agent.model.meta import Key
from agent.model.weft_node import Guarded

Reported = tuple[Key, Guarded]


class GuardIndex:
    """The reports of nodes, by address."""

    def __init__(self) -> None:
        self._reports: dict[str, tuple[Reported, ...]] = {}

    def replace(self, key: Key, old: object, new: object) -> set[str]:
        """Add, replace or remove the report of a node; returns the addresses about which it says something else."""
        before, after = _by_address(old), _by_address(new)
        changed = {address for address in before.keys() | after.keys() if before.get(address) != after.get(address)}
        for address in changed:
            reports = tuple(item for item in self._reports.pop(address, ()) if item[0] != key)
            if address in after:
                reports = (*reports, (key, after[address]))
            if reports:
                self._reports[address] = reports
        return changed

    def reports(self, address: str) -> tuple[Reported, ...]:
        """The nodes that report an address, each with what it says."""
        return self._reports.get(address, ())


def _by_address(value: object) -> dict[str, Guarded]:
    if not isinstance(value, NodeReport):
        return {}
    return {address: entry for entry in value.guarded for address in entry.addresses}
