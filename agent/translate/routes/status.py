"""The status of a Route, as the Gateway API prescribes: one entry for each parentRef to a Service or ServiceImport."""

from collections.abc import Iterator

from agent.ir.plan import Condition, Output, ParentStatus
from agent.model.core import ServicePort
from agent.model.meta import Key
from agent.model.routes import AnyRoute, GRPCRoute, HTTPRoute, UndecodableRoute
from agent.store.parents import parent_services, services_among
from agent.store.store import TrackedView
from agent.translate.field_errors import UNSUPPORTED
from agent.translate.routes.binding import Binding, binding_of, required_protocol
from agent.translate.routes.http import moving_sessions
from agent.translate.routes.references import references, resolve


def translate_status(view: TrackedView, key: Key) -> Output:
    """The status of one Route; none when no parentRef names a Service."""
    route, undecodable = view.route(key), view.undecodable(key)
    if undecodable is not None:
        statuses = tuple(_undecodable(undecodable, route))
        return Output(statuses={key: statuses} if statuses else {})
    parents = parent_services(route) if route is not None else []
    if route is None or not parents:
        return Output()
    refs, moving = _references(view, route), moving_sessions(view, route)
    entries = []
    for position, _, service in parents:
        binding = binding_of(view, service, key, position)
        entries.append(ParentStatus(binding.ref, tuple(_conditions(binding, refs, moving))))
    return Output(statuses={key: tuple(entries)})


def _undecodable(undecodable: UndecodableRoute, kept: AnyRoute | None) -> Iterator[ParentStatus]:
    """The status of a Route that the API server accepted and weft cannot decode.

    Status is by parent. Where the parentRefs cannot be decoded either, those of the generation that stays in force are
    used, if there is one.
    """
    message = f"{undecodable.field}: {undecodable.message}"
    if kept is not None:
        last = f"generation {kept.metadata.generation}, the last that could be read"
        message += f"; {last}, stays in force where it was read"
    condition = Condition("Accepted", False, UNSUPPORTED, message, undecodable.generation)
    parents = undecodable.parent_refs
    if parents is None:
        parents = kept.spec.parent_refs if kept is not None else ()
    for _, ref, _ in services_among(parents, undecodable.route.namespace):
        yield ParentStatus(ref, (condition,))


def _conditions(binding: Binding, refs: tuple[str, str], moving: list[str]) -> Iterator[Condition]:
    generation = binding.route.metadata.generation
    accepted = not binding.reason
    warnings = [
        f"{field}: its backends have different protocols, so a session may move to another backend" for field in moving
    ]
    message = binding.message or "; ".join([*_accepted(binding), *warnings])
    yield Condition("Accepted", accepted, binding.reason or "Accepted", message, generation)
    reason, message = refs
    yield Condition(
        "ResolvedRefs", not reason, reason or "ResolvedRefs", message or "every backendRef exists", generation
    )
    if accepted and binding.checked.errors:
        rules = binding.route.spec.rules
        dropped = [f"Dropped Rule {_label(index, rules[index].name)}: {x}" for index, x in binding.checked.errors]
        yield Condition("PartiallyInvalid", True, "UnsupportedValue", "; ".join(dropped), generation)


def _label(index: int, name: str) -> str:
    return f"{index} ({name})" if name else str(index)


def _accepted(binding: Binding) -> list[str]:
    """Where an accepted Route applies, and where it does not although its author may expect it."""
    parts = [f"applies to {_ports(binding.effective_ports)}"]
    if binding.route.metadata.namespace != (binding.ref.namespace or binding.route.metadata.namespace):
        parts.append(f"for clients in namespace {binding.route.metadata.namespace} only")
    if binding.skipped_ports:
        parts.append(f"not to {_ports(binding.skipped_ports)}, marked as not {required_protocol(binding.route)}")
    parts += [f"not to port {port.port}, where {key} applies" for port, key in binding.conflicts]
    parts += [f"not to {name or 'other names'}, where {key} applies" for name, key in binding.claimed_hostnames]
    if isinstance(binding.route, HTTPRoute | GRPCRoute) and binding.route.spec.hostnames:
        parts.append("spec.hostnames is not used: weft identifies a Service by its address (GEP-1294)")
    return parts


def _ports(ports: tuple[ServicePort, ...]) -> str:
    return "port " + ", ".join(str(port.port) for port in ports)


def _references(view: TrackedView, route: AnyRoute) -> tuple[str, str]:
    """The reason for the first backendRef that cannot be used, and the messages of all of them; empty for none."""
    found = [resolve(view, route, ref, field) for field, ref in references(route)]
    errors = [item for item in found if item.reason]
    return (errors[0].reason, "; ".join(item.message for item in errors)) if errors else ("", "")
