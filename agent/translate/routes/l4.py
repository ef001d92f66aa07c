"""TCPRoutes and UDPRoutes: weights of Services into weights of endpoints, for the kernel."""

from fractions import Fraction

from agent.ir.http import EndpointAddress
from agent.ir.tables import Slot, SocketAddress, address_bytes
from agent.model.core import ServicePort
from agent.model.multicluster import AnyService
from agent.model.routes import TCPRoute, UDPRoute
from agent.store.store import TrackedView
from agent.translate.endpoints import endpoints
from agent.translate.options import Options
from agent.translate.routes.references import resolve
from agent.translate.slots import alias_table, equal_table


def service_slots(
    view: TrackedView, service: AnyService, port: ServicePort, version: int, options: Options
) -> tuple[Slot, ...]:
    """Every endpoint of one IP version with the same weight; no slots when there is no endpoint."""
    return equal_table(map(_target, endpoints(view, service, port, version, options)))


def route_slots(view: TrackedView, route: TCPRoute | UDPRoute, version: int, options: Options) -> tuple[Slot, ...]:
    """A Route's backends by weight, each spread evenly over its endpoints.

    A backend that does not exist, or has no endpoint, keeps its share, and the kernel refuses the connections of that
    share (GEP-2644, GEP-2645). Where all weights are 0 it refuses every connection.
    """
    weights: dict[SocketAddress | None, Fraction] = {}
    for position, ref in enumerate(route.spec.rules[0].backend_refs):
        found = resolve(view, route, ref, f"spec.rules[0].backendRefs[{position}]")
        reached: list[SocketAddress | None] = []
        if found.service is not None and found.port is not None:
            reached = [_target(item) for item in endpoints(view, found.service, found.port, version, options)]
        for target in reached or [None]:
            weights[target] = weights.get(target, Fraction(0)) + Fraction(ref.weight, len(reached) or 1)
    return alias_table(weights)


def _target(address: EndpointAddress) -> SocketAddress:
    return address_bytes(address[0]), address[1]
