"""The state of the waypoint that an earlier agent left in the kernel: the start of the waypoint state machine."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.datapath.frontends import REJECT_LOST, TO_WAYPOINT, Installed, frontend_key
from agent.ir.addresses import Addresses
from agent.ir.plan import FrontendName, FrontendPlan
from agent.ir.tables import FrontendKey, packed_family
from agent.ir.waypoint_state import Adopted, PortFamily


@dataclass(frozen=True, slots=True)
class Inherited:
    """The tables as an earlier agent left them. Only `Datapath.inherit` creates one, after it has read them.

    `active` are the addresses of the active Envoy, `others` those of other Envoys, `enrolled_pods` the cgroup ids of
    pods in the mesh.
    """

    active: Addresses
    others: tuple[str, ...]
    enrolled_pods: tuple[int, ...]


def adopted(
    inherited: Inherited, desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[FrontendKey, Installed]
) -> Adopted:
    """The adopted state, from the tables, the desired frontends and the installed ones."""
    known = _listener_ports(desired, installed)
    named = {item.service.waypoint_port for item in installed.values()} - {0, *known.values()}
    sending = sent_to(installed)
    # A frontend without a port is refused because a table is full.
    refused = any(REJECT_LOST in item.actions and item.service.waypoint_port for item in installed.values())
    return Adopted(inherited.active, inherited.others, known, frozenset(named), sending, lost=refused and not sending)


def sent_to(installed: Mapping[FrontendKey, Installed]) -> frozenset[PortFamily]:
    """Ports of the waypoint to which these frontends send clients, by family."""
    return frozenset(
        (item.service.waypoint_port, packed_family(key.address))
        for key, item in installed.items()
        if TO_WAYPOINT in item.actions
    )


def _listener_ports(
    desired: Mapping[FrontendName, FrontendPlan], installed: Mapping[FrontendKey, Installed]
) -> dict[str, int]:
    """Ports that the kernel already has for listeners of desired frontends."""
    found: dict[str, int] = {}
    for name, plan in desired.items():
        item = installed.get(frontend_key(name))
        if plan.listener is not None and item is not None and item.service.waypoint_port:
            found[plan.listener] = item.service.waypoint_port
    return found
