"""A waypoint with three clients: shop/web, cart/default, and one without an identity."""

from collections.abc import Iterator
from contextlib import contextmanager

from agent.ir.policy import ServiceAccount
from support.waypoint.fixtures import OTHER_CLIENT, WaypointNode, waypoint_node
from support.waypoint.listeners import CLIENT

WITHOUT_IDENTITY = "127.0.1.3"
CLIENTS = (CLIENT, OTHER_CLIENT, WITHOUT_IDENTITY)
WEB, CART = ServiceAccount("shop", "web"), ServiceAccount("cart", "default")
ACCOUNTS = {CLIENT: WEB, OTHER_CLIENT: CART}


@contextmanager
def node_with_known_clients() -> Iterator[WaypointNode]:
    """A waypoint for one module's tests, which knows the accounts of its clients."""
    with waypoint_node() as node:
        node.accounts = dict(ACCOUNTS)
        node.allow_clients(*CLIENTS)
        yield node
