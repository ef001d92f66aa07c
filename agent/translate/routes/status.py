"""What a Route is told, as the Gateway API prescribes: one entry for each parentRef that names a Service or import."""

from collections.abc import Iterator

from agent.ir.plan import Condition, Fragment, ParentStatus
from agent.model.core import ServicePort
from agent.model.meta import Key
from agent.model.routes import AnyRoute, GRPCRoute, HTTPRoute, UnreadRoute
from agent.store.parents import parent_services, services_among
from agent.store.store import TrackedView
from agent.translate.field_errors import UNSUPPORTED
from agent.translate.routes.binding import Binding, binding_of, what_it_reads
from agent.translate.routes.http import moving_sessions
from agent.translate.routes.references import references, resolve


def translate_status(view: TrackedView, key: Key) -> Fragment:
    """The status of one Route; none when no parentRef names a Service."""
    route, unread = view.route(key), view.unread(key)
    if unread is not None:
        told = tuple(_not_read(unread, route))
        return Fragment(statuses={key: told} if told else {})
    parents = parent_services(route) if route is not None else []
    if route is None or not parents:
        return Fragment()
    refs, moving = _references(view, route), moving_sessions(view, route)
    entries = []
    for position, _, service in parents:
        binding = binding_of(view, service, key, position)
        entries.append(ParentStatus(binding.ref, tuple(_conditions(binding, refs, moving))))
    return Fragment(statuses={key: tuple(entries)})


def _not_read(unread: UnreadRoute, kept: AnyRoute | None) -> Iterator[ParentStatus]:
    """What a Route is told that the API server took and that could not be read here.

    Status is by parent: where none can be read it is told at those of the version that stays in force, if there is one.
    """
    told = f"{unread.field}: {unread.message}"
    if kept is not None:
        last = f"generation {kept.metadata.generation}, the last that could be read"
        told += f"; {last}, stays in force where it was read"
    condition = Condition("Accepted", False, UNSUPPORTED, told, unread.generation)
    parents = unread.parent_refs
    if parents is None:
        parents = kept.spec.parent_refs if kept is not None else ()
    for _, ref, _ in services_among(parents, unread.route.namespace):
        yield ParentStatus(ref, (condition,))


def _conditions(binding: Binding, refs: tuple[str, str], moving: list[str]) -> Iterator[Condition]:
    generation = binding.route.metadata.generation
    accepted = not binding.reason
    warnings = [f"{field}: its backends speak different protocols, a session may move" for field in moving]
    told = binding.message or "; ".join([*_accepted(binding), *warnings])
    yield Condition("Accepted", accepted, binding.reason or "Accepted", told, generation)
    reason, message = refs
    yield Condition(
        "ResolvedRefs", not reason, reason or "ResolvedRefs", message or "every backendRef is there", generation
    )
    if accepted and binding.checked.errors:
        rules = binding.route.spec.rules
        dropped = [f"Dropped Rule {_called(index, rules[index].name)}: {x}" for index, x in binding.checked.errors]
        yield Condition("PartiallyInvalid", True, "UnsupportedValue", "; ".join(dropped), generation)


def _called(index: int, name: str) -> str:
    return f"{index} ({name})" if name else str(index)


def _accepted(binding: Binding) -> list[str]:
    """What an accepted Route should know: where it applies, and where it does not although one might think so."""
    parts = [f"applies to {_ports(binding.won)}"]
    if binding.route.metadata.namespace != (binding.ref.namespace or binding.route.metadata.namespace):
        parts.append(f"for clients in namespace {binding.route.metadata.namespace} only")
    if binding.passed_over:
        parts.append(f"not to {_ports(binding.passed_over)}, marked as not {what_it_reads(binding.route)}")
    parts += [f"not to port {port.port}, where {key} applies" for port, key in binding.lost]
    parts += [f"not to {name or 'other names'}, where {key} applies" for name, key in binding.taken]
    if isinstance(binding.route, HTTPRoute | GRPCRoute) and binding.route.spec.hostnames:
        parts.append("spec.hostnames is not used: a Service is known by its address (GEP-1294)")
    return parts


def _ports(ports: tuple[ServicePort, ...]) -> str:
    return "port " + ", ".join(str(port.port) for port in ports)


def _references(view: TrackedView, route: AnyRoute) -> tuple[str, str]:
    """The reason of the first backendRef that cannot be used, and what is to say of all of them; empty for none."""
    found = [resolve(view, route, ref, field) for field, ref in references(route)]
    errors = [item for item in found if item.reason]
    return (errors[0].reason, "; ".join(item.message for item in errors)) if errors else ("", "")
