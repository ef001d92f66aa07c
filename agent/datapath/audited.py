"""The kernel's tables of audited policies: what pods of this node would admit if these policies were enforced.

They have room of their own: a dry run takes none of what enforced policies need.
"""

from collections.abc import Mapping

from agent.datapath.driver import AuthorizationTables
from agent.datapath.granted_rows import GrantedRows, grants_of
from agent.ir.authorization import GrantKey, ServerPlan
from agent.ir.tables import address_bytes


class Audited:
    """Brings the tables in step with what is desired. Methods raise `OSError`: then `adopt`, and retry."""

    def __init__(self, tables: AuthorizationTables) -> None:
        self._rows = GrantedRows(tables.audited, tables.audited_grants)
        self.rejected: dict[str, str] = {}
        """The pods without room, with the reason."""

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        return dict(zip(("audited", "audited_grants"), self._rows.fill, strict=True))

    def adopt(self) -> None:
        """Read the tables."""
        self._rows.adopt()

    def write(self, plans: Mapping[int, ServerPlan]) -> None:
        """Write what is desired."""
        self._rows.write(*self._wanted(plans))

    def drift(self) -> int:
        """The number of rows that differ from what was last written."""
        return self._rows.drift()

    def _wanted(self, plans: Mapping[int, ServerPlan]) -> tuple[dict[bytes, int], dict[GrantKey, bool]]:
        """What fits. Only half of the tables: new rows are written before old ones go."""
        self.rejected = {}
        rows: dict[bytes, int] = {}
        grants: dict[GrantKey, bool] = {}
        sets: set[int] = set()
        limits = tuple(capacity // 2 for _, capacity in self._rows.fill)
        for plan in sorted(plans.values(), key=lambda plan: plan.pod):
            new = {} if plan.policy_set in sets else grants_of(plan.policy_set, plan.grants)
            if len(rows) + len(plan.addresses) > limits[0] or len(grants) + len(new) > limits[1]:
                self.rejected[f"audited policies of {plan.pod}"] = "no room; nothing is counted for the pod"
                continue
            sets.add(plan.policy_set)
            grants |= new
            rows |= dict.fromkeys(map(address_bytes, plan.addresses), plan.policy_set)
        return rows, grants
