"""What of a directory of manifests would not be accepted, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from agent.explain.closed_services import closed_services
from agent.explain.fields import Definitions, flattened, ignored_fields, subject
from agent.explain.istio_policies import istio_warnings
from agent.explain.manifest_mesh import translated
from agent.explain.manifests import Manifests
from agent.explain.policies import policy_warnings
from agent.ir.plan import Condition, Output
from agent.model.routes import Route
from agent.store.parents import parent_services
from agent.store.store import TrackedView
from agent.translate.mesh_status import ACCEPTED, INVALID_PARAMETERS
from agent.translate.options import Options
from agent.translate.parameters import parameters_problem, weft_mesh

# A node with a name and a zone, so that there are no warnings about unknown ones.
NODE = Options(node="lint", zone="lint")
# Of these conditions True is the bad news.
ABNORMAL = ("PartiallyInvalid",)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding: the file and line, the object, and the field where one is known.

    `kind` is `problem` for what cannot be used at all, `condition` for a condition of a Route's status, `field` for an
    ignored field, and `warning` for a setting without the effect that its user may expect. `reason` is the condition's
    type and reason, empty for the others.
    """

    location: str
    object: str
    field: str
    kind: str
    reason: str
    message: str

    def __str__(self) -> str:
        """One line, as compilers write it."""
        return ": ".join(part for part in (self.location, self.object, self.field, self.reason, self.message) if part)


def findings(
    manifests: Manifests, documents: Iterable[tuple[str, Any]] = (), installed: Iterable[Any] = ()
) -> list[Finding]:
    """All findings, by file, line and object.

    `documents` are the same manifests as parsed, each with its place. Their fields are checked against the
    CustomResourceDefinitions among them and among `installed`.
    """
    names = {str(key): location for key, location in manifests.locations.items()}
    found = {
        Finding(problem.where, problem.subject, problem.field, "problem", "", problem.message)
        for problem in manifests.problems
    }
    mesh = translated(manifests, NODE)
    for item in mesh.outputs:
        found.update(_conditions(item, manifests))
        found.update(_warning(text, names) for text in item.warnings)
    listed = list(documents)
    found.update(_mesh(mesh.view(), manifests))
    found.update(_fields(listed, installed))
    warnings = (look(manifests, listed, mesh.view()) for look in (policy_warnings, closed_services))
    found.update(
        Finding(item.location, str(item.object), item.field, "warning", "", item.message)
        for item in chain(*warnings, istio_warnings(listed))
    )
    return sorted(found, key=_order)


def _fields(documents: list[tuple[str, Any]], installed: Iterable[Any]) -> Iterator[Finding]:
    """Fields that are ignored."""
    objects = [(location, item) for location, document in documents for item in flattened(document)]
    definitions = Definitions.of([*(item for _, item in objects), *installed])
    for location, item in objects:
        for field, message in ignored_fields(item, definitions):
            yield Finding(location, subject(item), field, "field", "", message)


def _order(finding: Finding) -> tuple[object, ...]:
    path, _, line = finding.location.rpartition(":")
    return (path, int(line), finding) if line.isdigit() else (finding.location, 0, finding)


def _conditions(item: Output, manifests: Manifests) -> Iterator[Finding]:
    """Conditions of Routes that report an error."""
    for key, parents in item.statuses.items():
        route = manifests.objects[key]
        positions = [position for position, _, _ in parent_services(route)] if isinstance(route, Route) else []
        for position, parent in zip(positions, parents, strict=True):
            for condition in filter(_is_bad, parent.conditions):
                reason = f"{condition.type}={condition.status} {condition.reason}"
                field = f"spec.parentRefs[{position}]"
                yield Finding(manifests.locations[key], str(key), field, "condition", reason, condition.message)


def _mesh(view: TrackedView, manifests: Manifests) -> Iterator[Finding]:
    """The condition of weft's XMesh, where its parameters cannot be used."""
    mesh = weft_mesh(view)
    if mesh is not None and (problem := parameters_problem(view, mesh)):
        reason = f"{ACCEPTED}=False {INVALID_PARAMETERS}"
        yield Finding(manifests.locations[mesh.key], str(mesh.key), "spec.parametersRef", "condition", reason, problem)


def _is_bad(condition: Condition) -> bool:
    return condition.status == (condition.type in ABNORMAL)


def _warning(text: str, names: Mapping[str, str]) -> Finding:
    """A warning begins with its object, and mostly has the field next."""
    subject, _, rest = text.partition(": ")
    field, _, message = rest.partition(": ")
    if not message or " " in field:
        field, message = "", rest
    return Finding(names.get(subject, ""), subject, field, "warning", "", message)
