"""Who takes part: what Nodes and the reports of their agents say."""

from collections.abc import Iterable
from ipaddress import ip_network

from agent.encryption.values import Member
from agent.ir.addresses import Addresses, Family, family_of
from agent.model.core import Node
from agent.model.facts import NodeReport
from agent.model.weft_node import Tunnels
from agent.store.store import TrackedView

NO_CIDRS = "the Node has no spec.podCIDRs"
NO_ADDRESS = "the Node has no address of type InternalIP"


def members(view: TrackedView) -> tuple[Member, ...]:
    """All nodes that are known. Addresses and ranges are those of the Node, which no other node's agent can write."""
    return view.memo(("members",), _members)


def _members(view: TrackedView) -> tuple[Member, ...]:
    reported = {report.node: report.tunnels for report in view.listed(NodeReport) if report.tunnels}
    return tuple(_member(node, reported.get(node.metadata.name, Tunnels())) for node in view.listed(Node))


def _member(node: Node, tunnels: Tunnels) -> Member:
    internal = [item.address for item in node.status.addresses if item.type == "InternalIP"]
    return Member(node.metadata.name, _first(internal), _ranges(node.spec.pod_cidrs), tunnels)


def _first(addresses: Iterable[str]) -> Addresses:
    """The first address of each family; what is no address is left out."""
    found: dict[Family, str] = {}
    for address in addresses:
        found.setdefault(family_of(address), address)
    try:
        return Addresses.of(found.values())
    except ValueError:
        return Addresses()


def _ranges(texts: Iterable[str]) -> tuple[str, ...]:
    """The ranges in canonical form; none where one is not a range."""
    try:
        return tuple(str(ip_network(text)) for text in texts)
    except ValueError:
        return ()


def inability(own: Member) -> str:
    """Why a node can have no tunnels, by its Node; empty where it can."""
    if not own.cidrs:
        return NO_CIDRS
    return "" if own.endpoints else NO_ADDRESS
