"""The pinned tables, as `agent.datapath.driver` declares them. Needs no BCC, only descriptors of pinned maps."""

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, TypeVar

from agent.ir.authorization import DestinationRow, GrantKey, PeerRow, VerdictCounts
from agent.ir.tables import (
    Action,
    AffinityEntry,
    AffinityKey,
    Config,
    FrontendAction,
    FrontendKey,
    PodRow,
    Reason,
    ServiceRow,
    Slot,
    UdpTarget,
)
from agent.kernel import abi, authorization_rows, libbpf
from agent.kernel.abi import Codec, Layout
from agent.kernel.affinity_rows import AFFINITY_CODEC, UDP_CHOICE_CODEC
from agent.kernel.flows import EventReader, FlowTable
from agent.kernel.programs import Pins

K = TypeVar("K")
V = TypeVar("V")

_CHUNK = 4096  # rows of one system call
_COMPARED = 512  # actions that are compared at once: a page
_POSSIBLE_CPUS = Path("/sys/devices/system/cpu/possible")
# The tables that the programs read for a decision: see `PinnedKernel.encoded`.
_DECIDING = (
    *("weft_config", "weft_pods", "weft_frontends", "weft_actions", "weft_services", "weft_slots"),
    *("weft_udp_choices", "weft_affinity", "weft_connections"),
    *("weft_destination_count", "weft_destinations", "weft_destination_grants", "weft_identities", "weft_protected"),
)


def _split(rows: bytes, size: int) -> Iterator[bytes]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _rows(fd: int, layout: Layout) -> Iterator[tuple[bytes, bytes]]:
    """Every row that is not all zero, read by batches; a row that moves meanwhile can be missed."""
    for keys, values in libbpf.lookup_batches(fd, layout.key.size, layout.value.size, _CHUNK):
        if values.strip(b"\0"):
            pairs = zip(_split(keys, layout.key.size), _split(values, layout.value.size), strict=True)
            yield from ((key, value) for key, value in pairs if any(value))


class HashTable(Generic[K, V]):
    """A hash map."""

    def __init__(self, fd: int, codec: Codec[K, V]) -> None:
        self._fd = fd
        self._codec = codec
        self.name = codec.layout.name
        self.capacity = codec.layout.capacity

    def load(self) -> dict[K, V]:
        """Every row, read by batches; a row that moves meanwhile can be missed."""
        codec, layout = self._codec, self._codec.layout
        sizes = layout.key.size, layout.value.size
        return {
            codec.decode_key(key): codec.decode_value(value)
            for keys, values in libbpf.lookup_batches(self._fd, *sizes, _CHUNK)
            for key, value in zip(_split(keys, sizes[0]), _split(values, sizes[1]), strict=True)
        }

    def upsert(self, rows: Mapping[K, V]) -> None:
        """Write rows in order. A full table is `E2BIG`; the rows before that one are written."""
        keys = b"".join(map(self._codec.encode_key, rows))
        values = b"".join(self._codec.encode_value(key, row) for key, row in rows.items())
        libbpf.update_batch(self._fd, keys, values, len(rows))

    def delete(self, keys: Iterable[K]) -> None:
        """Delete rows; a row that does not exist is a success."""
        for key in keys:
            libbpf.delete(self._fd, self._codec.encode_key(key))


class ArrayTable(HashTable[int, V]):
    """An array map: every row exists, all zero by default."""

    def load(self) -> dict[int, V]:
        """Every row that is not all zero; runs of zeros are skipped as a whole."""
        layout = self._codec.layout
        found: dict[int, V] = {}
        start = 0
        for _, values in libbpf.lookup_batches(self._fd, 4, layout.value.size, _CHUNK):
            if values.strip(b"\0"):
                rows = enumerate(_split(values, layout.value.size), start)
                found.update((number, self._codec.decode_value(row)) for number, row in rows if any(row))
            start += len(values) // layout.value.size
        return found

    def delete(self, keys: Iterable[int]) -> None:
        """Write zeros."""
        numbers = list(keys)
        zeros = bytes(self._codec.layout.value.size) * len(numbers)
        libbpf.update_batch(self._fd, b"".join(map(self._codec.encode_key, numbers)), zeros, len(numbers))


class ActionTable:
    """Frontend actions, written through shared memory: each is one aligned store of 8 bytes."""

    def __init__(self, fd: int) -> None:
        layout = abi.LAYOUTS["weft_actions"]
        self.name = layout.name
        self.capacity = layout.capacity
        self._memory = _map_memory(fd, layout)

    def load(self) -> dict[int, FrontendAction]:
        """Every action that is not zero. Most of the table is zero, and is compared as memory."""
        found: dict[int, FrontendAction] = {}
        for start in range(0, self.capacity, _COMPARED):
            part = self._memory[start : start + _COMPARED]
            if part.tobytes() != bytes(part.nbytes):
                actions = enumerate(part.tolist(), start)
                found |= {number: abi.unpack_action(value) for number, value in actions if value}
        return found

    def upsert(self, rows: Mapping[int, FrontendAction]) -> None:
        """Store actions in order."""
        for number, action in rows.items():
            self._memory[number] = abi.pack_action(action)

    def delete(self, keys: Iterable[int]) -> None:
        """Store zeros: the programs let these connections pass."""
        self.upsert(dict.fromkeys(keys, FrontendAction(Action.PASS)))


def _map_memory(fd: int, layout: Layout) -> "memoryview[int]":
    """An array map as u64s. The memory stays mapped as long as the view lives, also when the descriptor is closed."""
    size = layout.capacity * layout.value.size
    pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    return memoryview(mmap.mmap(fd, pages))[:size].cast("Q")


class ConfigRows:
    """Two rows, of which the programs use the one with the greater epoch: a change is one store of an epoch."""

    def __init__(self, fd: int) -> None:
        self._memory = _map_memory(fd, abi.LAYOUTS["weft_config"])
        self._width = abi.CONFIG.size // 8

    def _current(self) -> int:
        return 0 if self._memory[0] > self._memory[self._width] else 1

    def read(self) -> tuple[int, Config]:
        """The epoch and the configuration in use; epoch 0 is a fresh map."""
        start = self._current() * self._width
        return abi.decode_config(self._memory[start : start + self._width].tobytes())

    def write(self, config: Config) -> None:
        """Fill the unused row, and then store its epoch."""
        epoch, start = self.read()[0], (1 - self._current()) * self._width
        words = memoryview(abi.encode_config(config, epoch + 1)).cast("Q")
        for offset in reversed(range(self._width)):
            self._memory[start + offset] = words[offset]


def _possible_cpus() -> int:
    """The number of possible CPUs: a per-CPU value has one part for each, also for those that are absent."""
    return int(_POSSIBLE_CPUS.read_text().strip().rsplit("-", 1)[-1].rsplit(",", 1)[-1]) + 1


class PinnedKernel:
    """The tables of one node, by their pins. Implements `agent.datapath.driver.Kernel`; close it when done."""

    def __init__(self, pins: Path) -> None:
        with ExitStack() as opened:
            fds = {name: _open(pins, layout, opened) for name, layout in abi.LAYOUTS.items()}
            self.pods: HashTable[int, PodRow] = HashTable(fds["weft_pods"], abi.POD_CODEC)
            self.clients: HashTable[bytes, bool] = HashTable(fds["weft_clients"], authorization_rows.CLIENT_CODEC)
            self.servers: HashTable[bytes, int] = HashTable(fds["weft_servers"], authorization_rows.SERVER_CODEC)
            self.peers: HashTable[bytes, PeerRow] = HashTable(fds["weft_peers"], authorization_rows.PEER_CODEC)
            self.grants: HashTable[GrantKey, bool] = HashTable(fds["weft_grants"], authorization_rows.GRANT_CODEC)
            self.audited: HashTable[bytes, int] = HashTable(fds["weft_audited"], authorization_rows.AUDITED_CODEC)
            self.audited_grants: HashTable[GrantKey, bool] = HashTable(
                fds["weft_audited_grants"], authorization_rows.AUDITED_GRANT_CODEC
            )
            self.verdicts: HashTable[bytes, VerdictCounts] = HashTable(
                fds["weft_verdicts"], authorization_rows.VERDICTS_CODEC
            )
            self.destinations: HashTable[bytes, DestinationRow] = HashTable(
                fds["weft_destinations"], authorization_rows.DESTINATION_CODEC
            )
            self.destination_grants: HashTable[GrantKey, bool] = HashTable(
                fds["weft_destination_grants"], authorization_rows.DESTINATION_GRANT_CODEC
            )
            self.identities: HashTable[int, PeerRow] = HashTable(
                fds["weft_identities"], authorization_rows.IDENTITY_CODEC
            )
            self.frontends: HashTable[FrontendKey, int] = HashTable(fds["weft_frontends"], abi.FRONTEND_CODEC)
            self.actions = ActionTable(fds["weft_actions"])
            self.services: ArrayTable[ServiceRow] = ArrayTable(fds["weft_services"], abi.SERVICE_CODEC)
            self.slots: ArrayTable[Slot] = ArrayTable(fds["weft_slots"], abi.SLOT_CODEC)
            self.udp_choices: HashTable[UdpTarget, AffinityEntry] = HashTable(fds["weft_udp_choices"], UDP_CHOICE_CODEC)
            self.affinity: HashTable[AffinityKey, AffinityEntry] = HashTable(fds["weft_affinity"], AFFINITY_CODEC)
            self._config = ConfigRows(fds["weft_config"])
            self._fds = fds
            self._cpus = _possible_cpus()
            self.flows = FlowTable(fds["weft_flows"], fds["weft_flow_counts"], self._cpus)
            self._open = opened.pop_all()

    def count_destinations(self, count: int) -> None:
        """Set the number of destinations; with 0 the programs look for none."""
        libbpf.update(self._fds["weft_destination_count"], abi.U32.pack(0), abi.U64.pack(count))

    def configure(self, config: Config) -> None:
        """Replace the configuration of the node: programs see the old one or the new one."""
        self._config.write(config)

    def configuration(self) -> Config:
        """The configuration in use."""
        return self._config.read()[1]

    def counters(self) -> dict[Reason, int]:
        """Decisions so far by reason, summed over CPUs."""
        size = 8 * self._cpus
        rows = {reason: libbpf.lookup(self._fds["weft_counters"], abi.U32.pack(reason), size) for reason in Reason}
        return {reason: sum(memoryview(row).cast("Q")) for reason, row in rows.items()}

    def connections(self) -> dict[int, int]:
        """Connections to the waypoint by namespace id; all of them under the key `ALL_NAMESPACES`."""
        layout = abi.LAYOUTS["weft_connections"]
        unpack = abi.U64.unpack
        return {unpack(key)[0]: unpack(count)[0] for key, count in _rows(self._fds[layout.name], layout)}

    def events(self) -> EventReader:
        """Start to read the events of the kernel; there must be no other reader."""
        return EventReader(self._fds[abi.EVENTS.name])

    @property
    def cpus(self) -> int:
        """The number of possible CPUs: per-CPU rows have a part for each."""
        return self._cpus

    def encoded(self) -> dict[str, dict[bytes, bytes]]:
        """Every table as the bytes that the programs read, for `oracle.decide`; rows of zeros are left out."""
        return {name: dict(_rows(self._fds[name], abi.LAYOUTS[name])) for name in _DECIDING}

    def close(self) -> None:
        """Close the descriptors."""
        self._open.close()


def _open(pins: Path, layout: Layout, stack: ExitStack) -> int:
    fd = libbpf.get(Pins(pins).map_path(layout.name))
    stack.callback(os.close, fd)
    return fd


def open_kernel(pins: Path) -> PinnedKernel:
    """The tables that the loader pinned below `pins`. Raises `OSError` when there are none of this layout."""
    return PinnedKernel(pins)
