"""Flows and events of the kernel: sums by client workload and Service, and single decisions."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from agent.ir.flow_tables import OVERFLOW_ROW, Event, FlowKey, FlowSums
from agent.kernel import abi, flow_rows, libbpf

_CHUNK = 256


class FlowTable:
    """`weft_flows`: the programs add to its rows, one part for each CPU; the agent reads and deletes rows."""

    def __init__(self, fd: int, counts: int, cpus: int) -> None:
        """`counts` is the descriptor of `weft_flow_counts`."""
        self._fd = fd
        self._counts = counts
        self._cpus = cpus
        self.name = abi.FLOW_LAYOUT.name
        self.capacity = abi.FLOW_LAYOUT.capacity

    def load(self) -> dict[FlowKey, FlowSums]:
        """Every row, read by batches; a row that moves meanwhile can be missed."""
        key_size, value_size = abi.FLOW_KEY.size, abi.FLOW.size * self._cpus
        found: dict[FlowKey, FlowSums] = {}
        for keys, values in libbpf.lookup_batches(self._fd, key_size, value_size, _CHUNK):
            rows = range(len(keys) // key_size)
            found.update(
                (
                    flow_rows.decode_flow_key(keys[row * key_size :][:key_size]),
                    flow_rows.decode_flow(values[row * value_size :][:value_size]),
                )
                for row in rows
            )
        return found

    def delete(self, keys: Iterable[FlowKey]) -> None:
        """Delete rows, and count those that are left; a row that does not exist is a success."""
        for key in keys:
            libbpf.delete(self._fd, flow_rows.encode_flow_key(key))
        self._count()

    def _count(self) -> None:
        """Write how many rows each workload has: the programs compare that with the free ones. Rows that they create
        meanwhile can be missed until the next count.
        """
        counts = Counter(flow_rows.decode_flow_key(key).workload_id for key in libbpf.keys(self._fd, abi.FLOW_KEY.size))
        counts[abi.ALL_WORKLOADS] = counts.total()
        for key in list(libbpf.keys(self._counts, abi.U64.size)):
            if abi.U64.unpack(key)[0] not in counts:
                libbpf.delete(self._counts, key)
        keys, values = (b"".join(map(abi.U64.pack, column)) for column in (counts.keys(), counts.values()))
        libbpf.update_batch(self._counts, keys, values, len(counts))

    def make_overflow_row(self) -> None:
        """Create the overflow row, while the map has room for it."""
        with suppress(FileExistsError):
            zeros = bytes(abi.FLOW.size * self._cpus)
            libbpf.update(self._fd, flow_rows.encode_flow_key(OVERFLOW_ROW), zeros, libbpf.NO_EXIST)


class EventReader:
    """Reads `weft_events`. There can be one reader on a node: it consumes the events."""

    def __init__(self, fd: int) -> None:
        self._records: list[bytes] = []
        self._reader = libbpf.RingReader(fd, self._records.append)

    def read(self) -> list[Event]:
        """The events since the last call, without waiting."""
        self._reader.consume()
        events = [flow_rows.decode_event(record) for record in self._records]
        self._records.clear()
        return events

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()
