"""How values of the plan are said in the documents of the offline commands."""

from typing import Any, NamedTuple

import msgspec

from agent.model.meta import Key
from agent.translate.ir import Rule


class Origin(NamedTuple):
    """Where a rule of a route set comes from: its Route, the rule's name or index there, and the match's index."""

    route: Key
    rule: str
    match: int

    def __str__(self) -> str:
        """For people: `HTTPRoute app/r, rule 0, match 0`."""
        return f"{self.route}, rule {self.rule}, match {self.match}"


def origin(rule: Rule, grpc: bool) -> Origin:
    """Read a rule's name, which is made of these four (`agent.translate.ir.Rule`)."""
    namespace, route, rest = rule.name.split("/", 2)
    name, _, match = rest.rpartition("/")
    return Origin(Key("GRPCRoute" if grpc else "HTTPRoute", namespace, route), name, int(match))


def compact(value: msgspec.Struct) -> Any:
    """A value as its manifest would say it, without what it does not say."""
    return _without_nothing(msgspec.to_builtins(value))


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        parts = {name: _without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in parts.items() if item not in (None, [], {}, ())}
    return [_without_nothing(item) for item in value] if isinstance(value, list | tuple) else value
