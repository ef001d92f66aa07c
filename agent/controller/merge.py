"""What is stored and what is wanted, merged as the Gateway API prescribes. Pure: the time is given.

Entries of other controllers, and conditions that others set in ours, stay byte by byte what they are. A condition's
time moves only when its status does. Nothing is taken back that a newer generation was told.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agent.ir.plan import Condition, ParentStatus
from agent.model.meta import CONTROLLER_NAME
from agent.model.routes import ParentReference

Json = dict[str, Any]

MAX_MESSAGE = 32768


class StatusList(NamedTuple):
    """A list of statuses with an entry for each object that a Route or policy refers to: its name in `status`, the name
    of the reference in an entry, how many entries the schema allows, and the types of our conditions; any other in our
    entry is somebody else's.
    """

    name: str
    reference: str
    most: int
    conditions: frozenset[str]


PARENTS = StatusList(
    "parents", "parentRef", 32, frozenset({"Accepted", "ResolvedRefs", "PartiallyInvalid", "Programmed"})
)
# Of policies (GEP-713, PolicyStatus).
ANCESTORS = StatusList("ancestors", "ancestorRef", 16, frozenset({"Accepted", "ResolvedRefs"}))


def merge_entries(kind: StatusList, stored: Sequence[Any], wanted: Sequence[ParentStatus], now: str) -> list[Any]:
    """A list of statuses as it shall be; equal to `stored` when there is nothing to do.

    Ours keep their place; those that no reference asks for any more go, new ones are added behind. What does not fit
    into the schema is left out.
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
    """Conditions as they shall be, `ours` among them exactly those wanted."""
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
    """What a parentRef names: two that name the same are the same, however they are written."""
    return (ref.group, ref.kind, ref.namespace, ref.name, ref.section_name, ref.port)


def _stored_reference(found: Any) -> tuple[object, ...]:
    ref: Mapping[str, Any] = found if isinstance(found, dict) else {}
    names = ("namespace", "name", "sectionName", "port")
    return (ref.get("group", "gateway.networking.k8s.io"), ref.get("kind", "Gateway"), *(ref.get(it) for it in names))


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("controllerName") == CONTROLLER_NAME


def _is_newer(stored: Mapping[str, Any], wanted: Condition) -> bool:
    """Whether a newer generation than ours was already told."""
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
    """The condition; its time is the stored one's while the status is the same."""
    status = "True" if wanted.status else "False"
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
