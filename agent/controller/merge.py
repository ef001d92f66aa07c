"""Merges stored and desired statuses by the rules of the Gateway API. Pure: the time is a parameter.

Entries of other controllers, and foreign conditions in our entries, stay byte for byte. A condition's transition time
changes only with its status. A condition of a newer generation is not overwritten.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.ir.plan import Condition, ParentStatus
from agent.model.meta import CONTROLLER_NAME
from agent.model.routes import ParentReference

Json = dict[str, Any]

MAX_MESSAGE = 32768


class StatusList(NamedTuple):
    """A list of statuses, with an entry for each object that a Route or policy refers to: its field in `status`, the
    reference's field in an entry, the maximum number of entries, and the types of our conditions. Other conditions in
    our entry belong to other controllers.
    """

    name: str
    reference: str
    most: int
    conditions: frozenset[str]


PARENTS = StatusList(
    "parents", "parentRef", 32, frozenset({"Accepted", "ResolvedRefs", "PartiallyInvalid", "Programmed"})
)
# The statuses of policies (GEP-713, PolicyStatus).
ANCESTORS = StatusList("ancestors", "ancestorRef", 16, frozenset({"Accepted", "ResolvedRefs", "Programmed"}))


def merge_entries(kind: StatusList, stored: Sequence[Any], wanted: Sequence[ParentStatus], now: str) -> list[Any]:
    """The merged list; equal to `stored` when nothing has to change.

    Our entries keep their position. Entries without a reference are removed, new ones are appended. What exceeds the
    schema's maximum is left out.
    """
    left = {reference(status.parent_ref): status for status in wanted}
    merged: list[Any] = []
    for entry in stored:
        if not _is_ours(entry):
            merged.append(entry)
        elif (status := left.pop(_stored_reference(entry.get(kind.reference)), None)) is not None:
            conditions = merge_conditions(entry.get("conditions"), status.conditions, kind.conditions, now)
            merged.append({**entry, "conditions": conditions})
    merged += [_entry(kind, status, now) for status in left.values()]
    return merged[: kind.most]


def merge_conditions(stored: Any, wanted: Sequence[Condition], ours: frozenset[str], now: str) -> list[Any]:
    """The merged conditions: of the types in `ours` exactly the desired ones."""
    before = [item for item in stored if isinstance(item, dict)] if isinstance(stored, list) else []
    named: dict[Any, Json] = {item.get("type"): item for item in before}
    if any(_is_newer(named[it.type], it) for it in wanted if it.type in named):
        return before
    left: dict[Any, Condition] = {condition.type: condition for condition in wanted}
    merged: list[Any] = []
    for item in before:
        condition = left.pop(item.get("type"), None)
        if condition is not None:
            merged.append(_condition(condition, item, now))
        elif item.get("type") not in ours:
            merged.append(item)
    return merged + [_condition(condition, {}, now) for condition in left.values()]


def reference(ref: ParentReference) -> tuple[object, ...]:
    """The object that a parentRef names. Two parentRefs with the same values are the same."""
    return (ref.group, ref.kind, ref.namespace, ref.name, ref.section_name, ref.port)


def _stored_reference(found: Any) -> tuple[object, ...]:
    ref: Mapping[str, Any] = found if isinstance(found, dict) else {}
    names = ("namespace", "name", "sectionName", "port")
    return (ref.get("group", "gateway.networking.k8s.io"), ref.get("kind", "Gateway"), *(ref.get(it) for it in names))


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("controllerName") == CONTROLLER_NAME


def _is_newer(stored: Mapping[str, Any], wanted: Condition) -> bool:
    """Whether the stored condition is of a newer generation."""
    observed = stored.get("observedGeneration")
    return isinstance(observed, int) and observed > wanted.observed_generation


def _entry(kind: StatusList, status: ParentStatus, now: str) -> Json:
    ref = status.parent_ref
    optional = {"namespace": ref.namespace, "sectionName": ref.section_name, "port": ref.port}
    parent: Json = {"group": ref.group, "kind": ref.kind, "name": ref.name}
    parent |= {key: value for key, value in optional.items() if value is not None}
    conditions = [_condition(condition, {}, now) for condition in status.conditions]
    return {kind.reference: parent, "controllerName": CONTROLLER_NAME, "conditions": conditions}


def _condition(wanted: Condition, stored: Mapping[str, Any], now: str) -> Json:
    """The condition. It keeps the stored transition time while its status is the same."""
    status = "Unknown" if wanted.status is None else str(wanted.status)
    same = stored.get("status") == status and isinstance(stored.get("lastTransitionTime"), str)
    made = {
        "type": wanted.type,
        "status": status,
        "reason": wanted.reason,
        "message": wanted.message[:MAX_MESSAGE],
        "observedGeneration": wanted.observed_generation,
        "lastTransitionTime": stored["lastTransitionTime"] if same else now,
    }
    return {**stored, **made}
