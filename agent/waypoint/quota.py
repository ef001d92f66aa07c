"""Which listeners an Envoy has room for: it aborts when descriptors run out, so that what does not fit is left out.

Who has a place keeps it. Of those who come, each namespace gets no more than its share: one tenant's Routes cannot take
the node's room from the others.
"""

from collections import Counter
from collections.abc import Collection, Iterable

# Where no Envoy has said yet how many it has room for.
CAUTIOUS_ROOM = 1000


def tenant(listener: str) -> str:
    """The namespace whose Routes made a listener: the consumer's, or else the Service's (`shop/web:80@consumer`)."""
    _, _, consumer = listener.partition("@")
    return consumer or listener.partition("/")[0]


def share(room: int) -> int:
    """How many listeners one namespace may have."""
    return max(1, room // 2)


def refused(wanted: Iterable[str], held: Collection[str], room: int) -> dict[str, str]:
    """The listeners that do not fit, with the reason. `held` are those that have a place."""
    used = Counter(map(tenant, held))
    found: dict[str, str] = {}
    for listener in sorted(set(wanted) - set(held)):
        namespace = tenant(listener)
        if used.total() >= room:
            found[listener] = f"the waypoint has room for {room} listeners, and they are taken"
        elif used[namespace] >= share(room):
            found[listener] = f"namespace {namespace} has all the {share(room)} waypoint listeners that one may have"
        else:
            used[namespace] += 1
    return found
