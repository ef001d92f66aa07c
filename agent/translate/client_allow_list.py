"""Whom the waypoint's listeners take connections from: pods of this node, by address (DESIGN.md §5)."""

from collections.abc import Mapping

from agent.ir.plan import Fragment
from agent.store.store import TrackedView


def translate_admission(view: TrackedView) -> Fragment:
    """One filter for everybody's listeners, and one for each namespace with routes of its own; the kernel's allow-list
    has everybody.
    """
    found = view.computed("admitted", "")
    by_namespace: Mapping[str, tuple[str, ...]] = found if isinstance(found, Mapping) else {}
    everybody = sorted({address for addresses in by_namespace.values() for address in addresses})
    groups = {"": tuple(everybody)} | {
        namespace: addresses for namespace, addresses in by_namespace.items() if view.has_consumer_routes(namespace)
    }
    return Fragment(admitted=groups, clients=frozenset(everybody))
