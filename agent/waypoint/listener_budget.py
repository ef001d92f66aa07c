"""Which listeners an Envoy has room for: it aborts when descriptors run out, so that what does not fit is left out.

A listener that has a port keeps it. For further listeners each namespace has a budget.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from agent.budget import Budget, charged_namespace
from agent.waypoint.ports import FIRST_PORT, LAST_PORT

# Where no Envoy has said yet how many it has room for.
CAUTIOUS_CAPACITY = 1000


def listener_owner(listener: str) -> str:
    """The namespace that is charged for a listener, by its name (`shop/web:80@consumer`)."""
    service, _, consumer = listener.partition("@")
    return charged_namespace(service.partition("/")[0], consumer)


def listener_budget(assigned: Collection[str], capacities: Iterable[int]) -> Budget:
    """The budget with the listeners that have a port. `rooms` are the numbers of listeners that Envoys have room for.

    There are no more listeners than ports, however many descriptors an Envoy has.
    """
    capacity = min(min(capacities, default=CAUTIOUS_CAPACITY), LAST_PORT - FIRST_PORT + 1)
    return Budget("listeners", capacity, Counter(map(listener_owner, assigned)))


def refused(wanted: Iterable[str], assigned: Collection[str], budget: Budget) -> dict[str, str]:
    """The listeners that may have no port, with the reason; those that may are charged, in the order of their names."""
    found: dict[str, str] = {}
    for listener in sorted(set(wanted) - set(assigned)):
        refusal = budget.refusal(listener_owner(listener), 1)
        if refusal:
            found[listener] = str(refusal)
        else:
            budget.add(listener_owner(listener), 1)
    return found
