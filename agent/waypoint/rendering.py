"""Envoy's configuration kept up to date at the cost of the change: what translation wants, rendered unit by unit.

Rendering may run in a thread, while the event loop takes changed units in. These wait for the next batch: a unit that
changes all the time keeps no other from Envoy.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from agent.budget import Budget, Refusal
from agent.internal_errors import InternalErrors
from agent.ir.plan import Output
from agent.ir.resources import Json, ResourceName, ResourceType
from agent.translate.incremental import Unit
from agent.translate.options import Options
from agent.translate.rule_requirements import ByBackend
from agent.waypoint.xds.render import Rendered, render
from agent.waypoint.xds.runtime import LAYER, runtime

NOTHING = Output()
# Ten thousand listeners with a Route each take half of it.
CONFIGURATION_BYTES = 128 * 2**20
RESOURCE = "configuration"


class Rendering:
    """The rendered resources of each unit of translation. A unit whose rendering raises keeps its last resources, as
    one does whose namespace has no more room, unless policies changed. A namespace has a budget of bytes in protobuf's
    JSON form.
    """

    def __init__(
        self, options: Options, errors: InternalErrors | None = None, capacity: int = CONFIGURATION_BYTES
    ) -> None:
        """Without `errors` internal errors are raised. `capacity` is in bytes."""
        self._options = options
        self._errors = errors or InternalErrors()
        self._pending: dict[Unit, Output] = {}
        self._batch: dict[Unit, Output] = {}
        self._rendered: dict[Unit, Rendered] = {}
        self._requirements: dict[Unit, ByBackend] = {}
        self._sizes: dict[Unit, int] = {}
        self._budget = Budget(RESOURCE, capacity)
        self._refused: dict[Unit, tuple[Output, Refusal]] = {}
        self._freed = False
        self._merged: tuple[dict[ResourceName, Json], dict[str, frozenset[ResourceName]]] | None = None
        # What each listener depended on when `configuration` was last read.
        self.dependencies: Mapping[str, frozenset[ResourceName]] = {}
        # As of the end of the last batch: the event loop may read them while a thread renders.
        self.budget = Budget(RESOURCE, capacity)
        self.refused: Counter[tuple[str, str]] = Counter()
        self.rejected_listeners: Mapping[str, str] = {}

    @property
    def has_pending(self) -> bool:
        """Whether a unit waits for the next batch."""
        return bool(self._pending)

    @property
    def has_batch(self) -> bool:
        """Whether a unit of the batch has to be rendered."""
        return bool(self._batch)

    def take(self, unit: Unit, old: Output, new: Output) -> None:
        """A unit's output changed."""
        if _of_waypoint(old) != _of_waypoint(new):
            self._pending[unit] = new

    def begin(self) -> None:
        """Make a batch of all pending units, and of what is left of the last one."""
        self._batch, self._pending = self._batch | self._pending, {}

    def advance(self, at_most: int) -> None:
        """Render at most so many units of the batch."""
        for unit in list(self._batch)[:at_most]:
            output = self._batch.pop(unit)
            self._merged = None
            if _of_waypoint(output) == _of_waypoint(NOTHING):
                self._remove(unit)
                self._refused.pop(unit, None)
                self._errors.forget("render", unit.subject)
                continue
            with self._errors.guard("render", unit.subject):
                self._keep(unit, output)
        if not self._batch and self._freed:
            self._retry()
        if not self._batch:
            self._report()

    def _keep(self, unit: Unit, output: Output) -> None:
        """Render a unit, and keep its resources if its namespace has room for them. Outputs of no namespace always
        have. Where they do not fit, the last ones stay only if they require the same of clients.
        """
        rendered = render(output, self._options)
        size = sum(len(msgspec.json.encode(resource)) for resource in rendered.resources.values())
        refusal = self._budget.refusal(unit.owner, size - self._sizes.get(unit, 0)) if unit.owner else None
        if refusal and output.audits:
            # A dry run takes nothing from what is served.
            self._keep(unit, replace(output, audits={}))
            return
        if refusal:
            self._refused[unit] = output, refusal
            if self._requirements.get(unit) != output.requirements:
                self._remove(unit)
            return
        self._refused.pop(unit, None)
        self._rendered[unit] = rendered
        self._requirements[unit] = output.requirements
        self._charge(unit, size)

    def _remove(self, unit: Unit) -> None:
        self._rendered.pop(unit, None)
        self._requirements.pop(unit, None)
        self._charge(unit, 0)

    def _charge(self, unit: Unit, size: int) -> None:
        """Charge a unit with so many bytes."""
        growth = size - self._sizes.pop(unit, 0)
        if size:
            self._sizes[unit] = size
        self._budget.add(unit.owner, growth)
        self._freed |= growth < 0

    def _retry(self) -> None:
        """Units that were refused, and fit since others gave back, are pending again."""
        self._freed = False
        budget = self._copy()
        for unit, (output, refusal) in self._refused.items():
            if budget.refusal(unit.owner, refusal.wanted) is None:
                budget.add(unit.owner, refusal.wanted)
                # The event loop may have taken in a newer one.
                self._pending.setdefault(unit, output)

    def _copy(self) -> Budget:
        return Budget(RESOURCE, self._budget.capacity, self._budget.used)

    def _report(self) -> None:
        """Replace what the event loop reads."""
        self.budget = self._copy()
        self.refused = Counter((RESOURCE, unit.owner) for unit in self._refused)
        self.rejected_listeners = {
            name: str(refusal) for output, refusal in self._refused.values() for name in output.listeners
        }

    @property
    def configuration(self) -> tuple[Mapping[ResourceName, Json], Mapping[str, frozenset[ResourceName]]]:
        """Every resource, and what each listener depends on."""
        if self._merged is None:
            parts = self._rendered.values()
            layer = runtime(frozenset().union(*(item.logged for item in parts)))
            self._merged = (
                {ResourceName(ResourceType.RUNTIME, LAYER): layer}
                | {name: value for item in parts for name, value in item.resources.items()},
                {name: needs for item in parts for name, needs in item.dependencies.items()},
            )
            self.dependencies = self._merged[1]
        return self._merged


def _of_waypoint(output: Output) -> tuple[object, ...]:
    """The parts of an output that Envoy's configuration depends on."""
    clients = output.client_allow_lists, output.accounts, output.trust_domain
    return output.listeners, output.endpoints, output.requirements, output.audits, *clients, output.logged
