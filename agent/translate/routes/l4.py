"""TCPRoutes and UDPRoutes: weights of Services into weights of endpoints, for the kernel."""

from fractions import Fraction

from agent.ir.tables import Slot, address_bytes
from agent.model.core import ServicePort
from agent.model.multicluster import AnyService
from agent.model.routes import TCPRoute, UDPRoute
from agent.store.store import TrackedView
from agent.translate.endpoints import Address, endpoints
from agent.translate.options import Options
from agent.translate.routes.references import resolve
from agent.translate.slots import Target, alias_table


def service_slots(
    view: TrackedView, service: AnyService, port: ServicePort, version: int, options: Options
) -> tuple[Slot, ...]:
    """Every endpoint of one IP version with the same weight; no slots when there is none."""
    return alias_table({_target(item): 1 for item in endpoints(view, service, port, version, options)})


def route_slots(view: TrackedView, route: TCPRoute | UDPRoute, version: int, options: Options) -> tuple[Slot, ...]:
    """A Route's backends by weight, each spread evenly over its endpoints.

    A backend that is not there, or has no endpoint, keeps its share: connections that fall on it are refused
    (GEP-2644, GEP-2645). Nothing but weights of 0 means that every connection is refused.
    """
    weights: dict[Target | None, Fraction] = {}
    for position, ref in enumerate(route.spec.rules[0].backend_refs):
        found = resolve(view, route, ref, f"spec.rules[0].backendRefs[{position}]")
        reached: list[Target | None] = []
        if found.service is not None and found.port is not None:
            reached = [_target(item) for item in endpoints(view, found.service, found.port, version, options)]
        for target in reached or [None]:
            weights[target] = weights.get(target, Fraction(0)) + Fraction(ref.weight, len(reached) or 1)
    return alias_table(weights)


def _target(address: Address) -> Target:
    return address_bytes(address[0]), address[1]
