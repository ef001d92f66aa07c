"""Rules of AuthorizationPolicies that admit nothing which other rules for the same pods do not admit."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from agent.explain.protection import OTHER_PORT, Client, identity_of
from agent.ir.policy import Policy, PolicyRule, decide_level
from agent.ir.request_conditions import ANY_REQUEST, RequestConditions
from agent.model.meta import Key

NO_CLIENT = PolicyRule(frozenset())


class ShadowedRule(NamedTuple):
    """A rule by its position, and the rules that admit what it admits, `POLICY, spec.rules[POSITION]`."""

    policy: Key
    position: int
    by: tuple[str, ...]


def shadowed_rules(sets: Iterable[Collection[Policy]]) -> Iterator[ShadowedRule]:
    """The shadowed rules of policies. Each of `sets` has the policies that select a pod. Without all of the rules that
    are found every pod admits the same clients: of two rules that admit the same, the last by name is found. A rule
    about requests is shadowed by rules about the same ones, or about all.
    """
    levels = [[policy for policy in each if policy.application is level] for each in sets for level in (True, False)]
    by_name = [{policy.key: policy for policy in each} for each in levels]
    every = {policy.key: policy for each in by_name for policy in each.values()}
    for key, policy in sorted(every.items(), reverse=True):
        concerned = [each for each in by_name if key in each]
        for position in reversed(range(len(policy.rules))):
            without = [each | {key: _without(each[key], position)} for each in concerned]
            by = _allowed_by(policy.rules[position], without)
            if by:
                yield ShadowedRule(key, position, by)
                for each, reduced in zip(concerned, without, strict=True):
                    each.update(reduced)


def _about(conditions: RequestConditions, policy: Policy) -> Policy:
    """The policy with those of its rules that hold for all requests with these conditions."""
    holds = (ANY_REQUEST, conditions)
    return replace(policy, rules=tuple(rule if rule.conditions in holds else NO_CLIENT for rule in policy.rules))


def _without(policy: Policy, position: int) -> Policy:
    """The policy with a rule that no client matches in the place of one."""
    return replace(policy, rules=(*policy.rules[:position], NO_CLIENT, *policy.rules[position + 1 :]))


def _allowed_by(rule: PolicyRule, sets: Iterable[Mapping[Key, Policy]]) -> tuple[str, ...]:
    """The rules that admit all that a rule admits; none where a part of it is not admitted, or where it admits
    nothing.
    """
    clients: Iterable[Client] = (None,) if rule.sources is None else rule.sources
    found: set[str] = set()
    for policies in sets:
        others = [_about(rule.conditions, policy) for policy in policies.values()]
        for client in clients:
            for port in rule.ports or {OTHER_PORT}:
                verdict = decide_level(others, identity_of(client), port)
                if not verdict.allowed:
                    return ()
                found.add(f"{verdict.policy}, spec.rules[{verdict.rule}]")
    return tuple(sorted(found))
