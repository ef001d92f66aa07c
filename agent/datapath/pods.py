"""The pods of the node in the kernel's table `weft_pods`: those that are wanted, as many as fit."""

from agent.datapath.diff import Diff, diff
from agent.datapath.driver import Table
from agent.ir.identity import name_id
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode, PodRow


def pod_row(plan: PodPlan) -> PodRow:
    """The row of a pod."""
    return PodRow(name_id(plan.namespace), plan.mode, plan.flags, plan.workload.id)


class Pods:
    """The desired pods by cgroup id, and the rows in the kernel. Every method that uses the table raises `OSError`."""

    def __init__(self, table: Table[int, PodRow]) -> None:
        self._table = table
        self._rows: dict[int, PodRow] = {}
        self._left_out: set[int] = set()
        self.desired: dict[int, PodPlan] = {}

    def adopt(self) -> None:
        """Read the table."""
        self._rows = self._table.load()
        self._left_out = set()

    @property
    def fill(self) -> tuple[int, int]:
        """Rows in use and capacity."""
        return len(self._rows), self._table.capacity

    @property
    def enrolled(self) -> list[int]:
        """The cgroup ids of rows of pods in the mesh."""
        return [cgroup for cgroup, row in self._rows.items() if row.mode is not Mode.NONE]

    @property
    def pending(self) -> int:
        """Rows that are not written or deleted yet, without those that do not fit."""
        change = self._change()
        return len(change) - len(change.upserts.keys() & self._left_out)

    @property
    def rejected(self) -> set[int]:
        """Desired pods that do not fit."""
        return self._left_out & self.desired.keys()

    @property
    def failures(self) -> dict[str, str]:
        """Pods that do not fit: name → reason."""
        reason = f"no room for more than {self._table.capacity} pods"
        return {str(self.desired[cgroup].pod): reason for cgroup in self.rejected}

    def write(self) -> int:
        """Write the rows of desired pods, as many as fit; returns the number of rows."""
        rows = self._change().upserts
        new = [cgroup for cgroup in rows if cgroup not in self._rows]
        self._left_out = set(new[max(0, self._table.capacity - len(self._rows)) :])
        rows = {cgroup: row for cgroup, row in rows.items() if cgroup not in self._left_out}
        if rows:
            self._table.upsert(rows)
            self._rows = {**self._rows, **rows}
        return len(rows)

    def remove(self) -> int:
        """Delete the rows of pods that are not desired; returns the number of rows."""
        gone = self._change().deletes
        if gone:
            self._table.delete(gone)
            self._rows = {cgroup: row for cgroup, row in self._rows.items() if cgroup not in set(gone)}
        return len(gone)

    def drift(self) -> Diff[int, PodRow]:
        """Compare the table with what was last written."""
        return diff(self._rows, self._table.load())

    def _change(self) -> Diff[int, PodRow]:
        return diff({cgroup: pod_row(plan) for cgroup, plan in self.desired.items()}, self._rows)
