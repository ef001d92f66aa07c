"""The kernel's tables of audited policies: what pods of this node would admit if these policies were enforced.

They have room of their own: a dry run takes none of what enforced policies need.
"""

from collections.abc import Mapping

from agent.datapath.diff import diff
from agent.datapath.driver import AuthorizationTables
from agent.ir.authorization import GrantKey, ServerPlan
from agent.ir.tables import address_bytes


class Audited:
    """Brings the tables in step with what is desired. Methods raise `OSError`: then `adopt`, and retry."""

    def __init__(self, tables: AuthorizationTables) -> None:
        self._tables = tables
        self._rows: dict[bytes, int] = {}
        self._grants: dict[GrantKey, bool] = {}
        self.rejected: dict[str, str] = {}
        """The pods without room, with the reason."""

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        tables = self._tables
        return {
            "audited": (len(self._rows), tables.audited.capacity),
            "audited_grants": (len(self._grants), tables.audited_grants.capacity),
        }

    def adopt(self) -> None:
        """Read the tables."""
        self._rows, self._grants = self._tables.audited.load(), self._tables.audited_grants.load()

    def write(self, plans: Mapping[int, ServerPlan]) -> None:
        """Write what is desired: a row after the grants of its set, which are deleted after it."""
        rows, grants = self._wanted(plans)
        changed_rows, changed_grants = diff(rows, self._rows), diff(grants, self._grants)
        self._tables.audited_grants.upsert(changed_grants.upserts)
        self._tables.audited.delete(changed_rows.deletes)
        self._tables.audited.upsert(changed_rows.upserts)
        self._tables.audited_grants.delete(changed_grants.deletes)
        self._rows, self._grants = rows, grants

    def drift(self) -> int:
        """The number of rows that differ from what was last written."""
        tables = self._tables
        return len(diff(self._rows, tables.audited.load())) + len(diff(self._grants, tables.audited_grants.load()))

    def _wanted(self, plans: Mapping[int, ServerPlan]) -> tuple[dict[bytes, int], dict[GrantKey, bool]]:
        """What fits. Only half of the tables: new rows are written before old ones go."""
        self.rejected = {}
        rows: dict[bytes, int] = {}
        grants: dict[GrantKey, bool] = {}
        limits = self._tables.audited.capacity // 2, self._tables.audited_grants.capacity // 2
        for plan in sorted(plans.values(), key=lambda plan: plan.pod):
            number = plan.policy_set
            own = {GrantKey(number, grant.identity, grant.port): True for grant in plan.grants}
            if len(rows) + len(plan.addresses) > limits[0] or len(grants | own) > limits[1]:
                self.rejected[f"audited policies of {plan.pod}"] = "no room; nothing is counted for the pod"
                continue
            grants |= own
            rows |= dict.fromkeys(map(address_bytes, plan.addresses), number)
        return rows, grants
