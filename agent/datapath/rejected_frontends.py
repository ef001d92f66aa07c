"""Frontends that do not fit in the kernel's tables, and when they are tried again."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from agent.budget import Budget, Refusal
from agent.datapath.allocate import QUARANTINE_SECONDS, FullError, OverBudgetError
from agent.ir.plan import FrontendName


class RejectedFrontends:
    """The frontends with their reasons. They are tried again when space was freed and its quarantine is over."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reasons: dict[FrontendName, Refusal | str] = {}
        # The reasons as texts: they are read in each pass, and thousands may be refused.
        self._texts: dict[str, str] = {}
        self._frees = 0
        self.retry_at: float | None = None

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def names(self) -> set[FrontendName]:
        """The frontends."""
        return set(self._reasons)

    @property
    def texts(self) -> Mapping[str, str]:
        """The reasons by the name of the frontend."""
        return self._texts

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """The number of frontends that a budget refuses, by resource and namespace."""
        return Counter((item.resource, item.namespace) for item in self._reasons.values() if isinstance(item, Refusal))

    def add(self, name: FrontendName, error: FullError) -> None:
        """A frontend does not fit."""
        self._reasons[name] = error.refusal if isinstance(error, OverBudgetError) else str(error)
        self._texts[str(name)] = str(error)

    def discard(self, name: FrontendName) -> None:
        """A frontend fits, or is not wanted any more."""
        if self._reasons.pop(name, None) is not None:
            del self._texts[str(name)]

    @property
    def due(self) -> bool:
        """Whether it is time for another attempt."""
        return self.retry_at is not None and self._clock() >= self.retry_at

    def take_due(self, budgets: Iterable[Budget]) -> set[FrontendName]:
        """The frontends to try now, if it is time: not those that their budget still refuses."""
        if not self.due:
            return set()
        self.retry_at = None
        by_resource = {budget.resource: budget for budget in budgets}
        return {name for name, reason in self._reasons.items() if not _is_refused(reason, by_resource)}

    def plan_retry(self, frees: int) -> None:
        """Plan an attempt if there were frees since the last plan: at most one in the time of a quarantine, however
        many changes there are. `frees` is their number since the start.
        """
        if self._reasons and self.retry_at is None and self._frees != frees:
            self._frees, self.retry_at = frees, self._clock() + QUARANTINE_SECONDS


def _is_refused(reason: Refusal | str, budgets: Mapping[str, Budget]) -> bool:
    """Whether one of these budgets still refuses."""
    if isinstance(reason, str) or reason.resource not in budgets:
        return False
    return budgets[reason.resource].refusal(reason.namespace, reason.wanted) is not None
