"""The programs of policies in pods: `weft_authorize` in protected pods, and `weft_audit` where policies are audited.

`pod_links.py` attaches them.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from agent.datapath.diff import diff
from agent.ir.addresses import Family
from agent.ir.authorization import ServerPlan
from agent.ir.tables import UNSPECIFIED, address_bytes, packed_family
from agent.kernel.authorization_rows import PROTECTED_CODEC
from agent.kernel.bpffs import opened
from agent.kernel.maps import HashTable
from agent.kernel.netns.client import NetnsClient
from agent.kernel.network_links import NetworkLinks
from agent.kernel.pod_links import PodLinks
from agent.kernel.programs import AUDIT, AUTHORIZE, Pins

Servers = Mapping[int, ServerPlan]


class PodGuards:
    """Attaches the programs to the pods of the node that they are for, and detaches them from all others."""

    def __init__(
        self, pins: Path, kubepods: Path, helper: NetnsClient, version: str, drifted: Callable[[int], None]
    ) -> None:
        """`version` is that of the programs. `drifted` receives the number of links that were removed by others."""
        folders = Pins(pins)
        programs = folders.programs / version
        self._guards = PodLinks(NetworkLinks(folders.pod_guards, programs / AUTHORIZE.name), kubepods, helper, drifted)
        self._audits = PodLinks(NetworkLinks(folders.pod_audits, programs / AUDIT.name), kubepods, helper, drifted)
        self._addresses = folders.map_path(PROTECTED_CODEC.layout.name)

    @property
    def states(self) -> Mapping[int, str]:
        """By cgroup id: the state of the guard of each protected pod at the latest look."""
        return self._guards.states

    @property
    def audit_states(self) -> Mapping[int, str]:
        """The same of the pods at which policies are audited."""
        return self._audits.states

    def look(self, servers: Servers, complete: bool = True, audited: Servers | None = None) -> None:
        """Guard these pods, by cgroup id, and no others; `audited` are those at which policies are audited. Raises
        `OSError`; then links may be left at other pods.

        The tables have the policies of these pods before. `complete`: they have all clients that these name, too. Until
        then guards keep the program that they have. After an upgrade that is the former one, whose tables have them.
        """
        if self._guards.is_supported:
            self._write_addresses({**(audited or {}), **servers})
        self._guards.look(servers, complete)
        self._audits.look(audited or {})

    def _write_addresses(self, servers: Servers) -> None:
        """Write the addresses of pods, which send datagrams from them: replies are not judged."""
        with opened(self._addresses) as fd:
            table = HashTable(fd, PROTECTED_CODEC)
            wanted = {cgroup: _by_family(plan.addresses) for cgroup, plan in servers.items()}
            changes = diff(dict(islice(wanted.items(), table.capacity)), table.load())
            table.delete(changes.deletes)
            table.upsert(changes.upserts)


def _by_family(addresses: Iterable[str]) -> tuple[bytes, bytes]:
    """The first address of each family, IPv4 first; `UNSPECIFIED` for a family without one."""
    found = {packed_family(packed): packed for packed in reversed([address_bytes(text) for text in addresses])}
    return found.get(Family.IPV4, UNSPECIFIED), found.get(Family.IPV6, UNSPECIFIED)
