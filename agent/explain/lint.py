"""What of a directory of manifests would not be accepted, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.explain.fields import Definitions, flattened, subject, unread
from agent.explain.manifest_mesh import translated
from agent.explain.manifests import Manifests
from agent.ir.plan import Condition, Fragment
from agent.model.routes import Route
from agent.store.parents import parent_services
from agent.translate.options import Options

# A node that knows its name and zone, so that nobody is told that they are not known.
NODE = Options(node="lint", zone="lint")
# Of these conditions True is the bad news.
ABNORMAL = ("PartiallyInvalid",)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong: at which file and line, about which object, in which field as far as one is known.

    `kind` is `problem` for what cannot be used at all, `condition` for what a Route's status would say, `field` for
    what nobody reads, and `warning` for what its user may expect and does not get. `reason` is the condition's type and
    reason, empty for the others.
    """

    place: str
    subject: str
    field: str
    kind: str
    reason: str
    message: str

    def __str__(self) -> str:
        """One line, as compilers write it."""
        return ": ".join(part for part in (self.place, self.subject, self.field, self.reason, self.message) if part)


def findings(
    manifests: Manifests, documents: Iterable[tuple[str, Any]] = (), installed: Iterable[Any] = ()
) -> list[Finding]:
    """Everything that is wrong, by file, line and object.

    `documents` are the same manifests as they were parsed, each with its place. Their fields are looked for in the
    CustomResourceDefinitions among them and among `installed`.
    """
    names = {str(key): place for key, place in manifests.places.items()}
    found = {
        Finding(problem.where, problem.subject, problem.field, "problem", "", problem.message)
        for problem in manifests.problems
    }
    for item in translated(manifests, NODE).fragments:
        found.update(_conditions(item, manifests))
        found.update(_warning(text, names) for text in item.warnings)
    found.update(_fields(list(documents), installed))
    return sorted(found, key=_order)


def _fields(documents: list[tuple[str, Any]], installed: Iterable[Any]) -> Iterator[Finding]:
    """Fields that nobody reads."""
    objects = [(place, item) for place, document in documents for item in flattened(document)]
    definitions = Definitions.of([*(item for _, item in objects), *installed])
    for place, item in objects:
        for field, message in unread(item, definitions):
            yield Finding(place, subject(item), field, "field", "", message)


def _order(finding: Finding) -> tuple[object, ...]:
    path, _, line = finding.place.rpartition(":")
    return (path, int(line), finding) if line.isdigit() else (finding.place, 0, finding)


def _conditions(item: Fragment, manifests: Manifests) -> Iterator[Finding]:
    """What a Route would be told that is not good."""
    for key, parents in item.statuses.items():
        route = manifests.objects[key]
        positions = [position for position, _, _ in parent_services(route)] if isinstance(route, Route) else []
        for position, parent in zip(positions, parents, strict=True):
            for condition in filter(_is_bad, parent.conditions):
                reason = f"{condition.type}={condition.status} {condition.reason}"
                field = f"spec.parentRefs[{position}]"
                yield Finding(manifests.places[key], str(key), field, "condition", reason, condition.message)


def _is_bad(condition: Condition) -> bool:
    return condition.status == (condition.type in ABNORMAL)


def _warning(text: str, names: Mapping[str, str]) -> Finding:
    """A warning says its object first, and mostly the field next."""
    subject, _, rest = text.partition(": ")
    field, _, message = rest.partition(": ")
    if not message or " " in field:
        field, message = "", rest
    return Finding(names.get(subject, ""), subject, field, "warning", "", message)
