"""Envoy's configuration kept up to date at the cost of the change: what translation wants, rendered unit by unit."""

from collections.abc import Mapping

from agent.internal_errors import InternalErrors
from agent.ir.plan import Fragment
from agent.ir.resources import Json, ResourceName
from agent.translate.incremental import Unit
from agent.translate.options import Options
from agent.waypoint.xds.render import Rendered, render

NOTHING = Fragment()


class Rendering:
    """What was rendered of each unit of translation. A unit that trips a bug keeps what it last was."""

    def __init__(self, options: Options, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._options = options
        self._errors = errors or InternalErrors()
        self._pending: dict[Unit, Fragment] = {}
        self._rendered: dict[Unit, Rendered] = {}
        self._merged: tuple[dict[ResourceName, Json], dict[str, frozenset[ResourceName]]] | None = None
        # What each listener depended on when the configuration was last asked for.
        self.dependencies: Mapping[str, frozenset[ResourceName]] = {}

    @property
    def behind(self) -> bool:
        """Whether something is to be rendered again."""
        return bool(self._pending)

    def take(self, unit: Unit, old: Fragment, new: Fragment) -> None:
        """A unit's fragment was another."""
        if _of_waypoint(old) != _of_waypoint(new):
            self._pending[unit] = new

    def advance(self, at_most: int) -> None:
        """Render so many of the units that are behind."""
        for unit in list(self._pending)[:at_most]:
            fragment = self._pending.pop(unit)
            self._merged = None
            if _of_waypoint(fragment) == _of_waypoint(NOTHING):
                self._rendered.pop(unit, None)
                self._errors.forget("render", unit.key)
                continue
            with self._errors.guard("render", unit.key):
                self._rendered[unit] = render(fragment, self._options)

    @property
    def configuration(self) -> tuple[Mapping[ResourceName, Json], Mapping[str, frozenset[ResourceName]]]:
        """Every resource, and what each listener depends on."""
        if self._merged is None:
            parts = self._rendered.values()
            self._merged = (
                {name: value for item in parts for name, value in item.resources.items()},
                {name: needs for item in parts for name, needs in item.dependencies.items()},
            )
            self.dependencies = self._merged[1]
        return self._merged


def _of_waypoint(fragment: Fragment) -> tuple[object, ...]:
    """What of a fragment Envoy's configuration is made of."""
    return fragment.route_sets, fragment.endpoints, fragment.admitted
