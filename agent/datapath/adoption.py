"""What an earlier agent left in the kernel about the node's waypoint, as its state machine starts from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.datapath.frontends import REJECT_LOST, TO_WAYPOINT, Installed, frontend_key
from agent.ir.addresses import Addresses
from agent.ir.plan import FrontendName, FrontendPlan
from agent.ir.tables import FrontendKey, packed_family
from agent.ir.waypoint_state import Adopted, PortFamily


@dataclass(frozen=True, slots=True)
class Inherited:
    """The kernel's tables as an earlier agent left them. Only `Datapath.inherit` makes one, when it has read them.

    `active` are the addresses of the Envoy that served, `others` those of other Envoys, `enrolled_pods` the cgroups of
    pods in the mesh.
    """

    active: Addresses
    others: tuple[str, ...]
    enrolled_pods: tuple[int, ...]


def adopted(
    inherited: Inherited, desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[FrontendKey, Installed]
) -> Adopted:
    """From what was read, the frontends that are wanted, and those that the kernel has."""
    known = _listener_ports(desired, installed)
    named = {item.service.waypoint_port for item in installed.values()} - {0, *known.values()}
    sending = sent_to(installed)
    # A frontend that names no port is refused for want of room.
    refused = any(REJECT_LOST in item.actions and item.service.waypoint_port for item in installed.values())
    return Adopted(inherited.active, inherited.others, known, frozenset(named), sending, lost=refused and not sending)


def sent_to(installed: Mapping[FrontendKey, Installed]) -> frozenset[PortFamily]:
    """Ports of the waypoint that these frontends send clients to, by family."""
    return frozenset(
        (item.service.waypoint_port, packed_family(key.address))
        for key, item in installed.items()
        if TO_WAYPOINT in item.actions
    )


def _listener_ports(
    desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[FrontendKey, Installed]
) -> dict[str, int]:
    """Ports that the desired frontends' listeners have in the kernel already."""
    found: dict[str, int] = {}
    for name, plan in desired.items():
        item = installed.get(frontend_key(name))
        if plan.listener is not None and item is not None and item.service.waypoint_port:
            found[plan.listener] = item.service.waypoint_port
    return found
