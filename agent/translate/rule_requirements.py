"""What a rule's requests must meet, by the requirements of the backends to which Envoy sends them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from agent.ir.http import BackendPort, Rule, TLSRule, WeightedBackend
from agent.ir.requirements import AuditedRequirements, Requirement, Requirements
from agent.model.filters import Filter
from agent.translate.filters.registry import leave
from agent.translate.filters.request_mirror import Mirror
from agent.translate.per_backend import expand_per_backend

ByBackend = Mapping[BackendPort, Requirements]
Audits = Mapping[BackendPort, tuple[AuditedRequirements, ...]]


def of_rule(rule: Rule, by_backend: ByBackend) -> Requirements:
    """What each request must meet, whichever backend gets it: the requirements of the server that authorizes it, and
    those of all members of a pool, because a session keeps its endpoint.
    """
    return judged(_union(by_backend.get(item, ()) for item in shared_backends(rule)), rule.filters)


def judged(requirements: Iterable[Requirement], filters: Iterable[Filter]) -> Requirements:
    """Requirements as the waypoint judges a request, which is before the filters. Where these may change what a rule of
    a policy looks at, that rule matches no request: the backend would get another one.
    """
    filters = tuple(filters)
    return tuple(
        sorted(
            replace(item, rules=tuple(rule for rule in item.rules if leave(filters, rule.conditions)))
            for item in requirements
        )
    )


def judged_backends(rule: Rule | TLSRule) -> Iterator[BackendPort]:
    """The backends by whose requirements Envoy judges a rule's requests or connections: not those of copies."""
    yield from (item.backend for item in rule.backends if item.backend is not None)
    if isinstance(rule, Rule):
        for part in expand_per_backend(rule):
            yield from shared_backends(part)


def audits_of_rule(rule: Rule, audits: Audits) -> tuple[AuditedRequirements, ...]:
    """What audited policies would require of each request, as `of_rule`."""
    found = (item for backend in shared_backends(rule) for item in audits.get(backend, ()))
    return judged_audits(found, rule.filters)


def audits_of_share(rule: Rule, share: WeightedBackend, audits: Audits) -> tuple[AuditedRequirements, ...]:
    """What they would require of requests that get to one of a rule's backends, as `of_share`."""
    own = audits.get(share.backend, ()) if share.backend is not None else ()
    return tuple(sorted({*judged_audits(own, rule.filters), *audits_of_rule(rule, audits)}))


def judged_audits(found: Iterable[AuditedRequirements], filters: Iterable[Filter]) -> tuple[AuditedRequirements, ...]:
    """What audited policies would require of requests that these filters change, as `judged`."""
    own = tuple(filters)
    return tuple(sorted({replace(item, requirements=judged(item.requirements, own)) for item in found}))


def shared_backends(rule: Rule) -> Iterator[BackendPort]:
    """The backends whose requirements each request must meet."""
    yield from (item for found in rule.resolved if not isinstance(found, Mirror) for item in found.backends)
    backends = {item.backend for item in rule.backends}
    shared = rule.pool.members if rule.pool else backends if len(backends) == 1 else ()
    yield from (item for item in shared if item is not None)


def of_share(rule: Rule, share: WeightedBackend, by_backend: ByBackend) -> Requirements:
    """What requests must meet that get to one of a rule's backends."""
    own = by_backend.get(share.backend, ()) if share.backend is not None else ()
    return _union((judged(own, rule.filters), of_rule(rule, by_backend)))


def of_connection(rule: TLSRule, by_backend: ByBackend) -> Requirements:
    """What a connection must meet that Envoy forwards as bytes: the requirements of all backends, because Envoy chooses
    one after it has judged the connection.
    """
    return _union(by_backend.get(item.backend, ()) for item in rule.backends if item.backend is not None)


def forbidden_copies(rule: Rule, by_backend: ByBackend) -> tuple[Mirror, ...]:
    """The mirrors of a rule to backends that a client of its requests might not reach. Envoy judges a request for its
    backend and not for its copies, so these get no copies.
    """
    met = [set(of_share(rule, item, by_backend)) for item in rule.backends if item.backend is not None]
    copies = [item for item in rule.resolved if isinstance(item, Mirror)]
    required = {item: judged(by_backend.get(item.backend, ()), rule.filters) for item in copies}
    return tuple(item for item in copies if not all(own.issuperset(required[item]) for own in met))


def without_forbidden_copies(rule: Rule, by_backend: ByBackend) -> Rule:
    """The rule without these mirrors."""
    forbidden = forbidden_copies(rule, by_backend)
    return replace(rule, resolved=tuple(item for item in rule.resolved if item not in forbidden)) if forbidden else rule


def copies_warnings(rules: Iterable[Rule], by_backend: ByBackend) -> Iterator[str]:
    """What their authors should know of mirrors that get no copies."""
    for part in (part for rule in rules for part in expand_per_backend(rule)):
        for item in forbidden_copies(part, by_backend):
            message = "gets no copies: its policies refuse clients that those of the rule's backends admit"
            yield f"rule {part.name}: {item.backend.cluster} {message}"


def changed_warnings(rules: Iterable[Rule], by_backend: ByBackend) -> Iterator[str]:
    """What their authors should know of rules whose filters may change what policies look at."""
    for part in (part for rule in rules for part in expand_per_backend(rule)):
        backends = [*shared_backends(part), *(item.backend for item in part.backends if item.backend is not None)]
        required = _union(by_backend.get(item, ()) for item in backends)
        found = sorted({item.name for item in required if judged((item,), part.filters) != (item,)})
        if found:
            message = "match none of its requests, because its filters may change what they look at"
            yield f"rule {part.name}: rules of the policies {', '.join(found)} with httpAttributes {message}"


def _union(parts: Iterable[Requirements]) -> Requirements:
    found: set[Requirement] = {item for part in parts for item in part}
    return tuple(sorted(found))
