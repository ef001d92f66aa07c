"""Bytes of Envoy's configuration that policies of backends take, and may take: each route to a backend repeats them."""

from collections import Counter
from collections.abc import Iterable, Iterator

from agent.ir.http import BackendPort, ListenerIR, Rule, TLSRule
from agent.ir.request_conditions import AMBIGUOUS_PATH, RequestConditions
from agent.ir.requirements import AuditedRequirements, Requirement, Requirements
from agent.translate.rule_requirements import Audits, ByBackend, shared_backends

MAX_BYTES = 4 * 2**20
"""Of all listeners of a Service for one group of clients, as its Routes may take for a port."""
# What Envoy's RBAC has of a client beside its name, and of a condition on requests beside its text.
CLIENT_BYTES = 40
CONDITION_BYTES = 60
# Characters for each character of a header's value in the expression for all other values (`waypoint/xds`).
OTHER_VALUES = 17


def bounded(listeners: Iterable[ListenerIR], requirements: ByBackend) -> ByBackend:
    """The requirements as they are where they fit. Else backends with more than an equal part of the room admit no
    client, and the others stay as they are.
    """
    uses = Counter(use for item in listeners for rule in item.rules for use in _uses(rule) if use in requirements)
    sizes = {backend: sum(map(_bytes, requirements[backend])) for backend in uses}
    if sum(sizes[backend] * number for backend, number in uses.items()) <= MAX_BYTES:
        return requirements
    part = MAX_BYTES // uses.total()
    return {
        backend: _closed(found) if sizes.get(backend, 0) > part else found for backend, found in requirements.items()
    }


def bounded_audits(listeners: Iterable[ListenerIR], audits: Audits) -> Audits:
    """What audited policies would require, where all of it fits; else nothing. What is enforced keeps its room."""
    uses = [use for item in listeners for rule in item.rules for use in _uses(rule) if use in audits]
    size = sum(_audit_bytes(item) for use in uses for item in audits[use])
    return audits if size <= MAX_BYTES else {}


def audit_warnings(before: Audits, after: Audits) -> Iterator[str]:
    """What the authors of audited policies that do not fit should know."""
    names = sorted({str(key) for found in before.values() for item in found for key in item.audited})
    if names and not after:
        message = f"they take more of Envoy's configuration than {MAX_BYTES} bytes"
        yield f"not audited at the waypoint: {', '.join(names)}: {message}"


def _audit_bytes(item: AuditedRequirements) -> int:
    return CONDITION_BYTES + len(item.name) + sum(map(_bytes, item.requirements))


def size_warnings(before: ByBackend, after: ByBackend) -> Iterator[str]:
    """What the authors of policies that do not fit should know."""
    for backend, found in before.items():
        if after[backend] != found:
            names = ", ".join(str(key) for item in found for key in item.policies)
            message = (
                f"their sources take more of Envoy's configuration than {MAX_BYTES} bytes, once for each route to it"
            )
            yield f"{backend.key}: the waypoint refuses all clients of {backend.cluster}: {names}: {message}"


def _uses(rule: Rule | TLSRule) -> Iterator[BackendPort]:
    """The backends whose requirements a rule has, once for each time."""
    yield from (item.backend for item in rule.backends if item.backend is not None)
    if isinstance(rule, Rule):
        yield from list(shared_backends(rule)) * (len(rule.backends) + 1)


def _bytes(item: Requirement) -> int:
    clients = (*item.clients, *(client for rule in item.rules for client in rule.clients))
    texts = [text for rule in item.rules for text in _texts(rule.conditions)]
    return sum(len(str(client)) + CLIENT_BYTES for client in clients) + sum(len(it) + CONDITION_BYTES for it in texts)


def _texts(conditions: RequestConditions) -> Iterator[str]:
    """The text of each condition, as often as Envoy's RBAC has it."""
    yield from conditions.methods
    # Once as the path itself, once as a prefix.
    yield from (path.value for path in conditions.paths for _ in range(1 if path.exact else 2))
    for name, value in conditions.headers:
        yield f"{name}{value}"
        # The expression for all other values.
        yield f"{name}{value * OTHER_VALUES}"
    if conditions.paths:
        yield AMBIGUOUS_PATH


def _closed(found: Requirements) -> Requirements:
    return tuple(sorted({Requirement(item.policies) for item in found}))
