"""Renders values of the plan for documents."""

from dataclasses import asdict
from typing import Any, NamedTuple

import msgspec

from agent.ir.access_log import UNROUTED
from agent.ir.http import Rule, Session, TLSRule
from agent.ir.tables import Action, FrontendAction, Reason, Slot, address_text, host_port
from agent.model.meta import Key
from agent.translate.filters.registry import describe_filters
from agent.translate.slots import shares


class Origin(NamedTuple):
    """The origin of a listener's rule: the Route, the rule's name or index in it, and the match's index; a TLSRoute's
    rule has no matches.
    """

    route: Key
    rule: str
    match: int | None = None

    def __str__(self) -> str:
        """For people: `HTTPRoute app/r, rule 0, match 0`."""
        match = f", match {self.match}" if self.match is not None else ""
        return f"{self.route}, rule {self.rule}{match}"


def origin(rule: Rule | TLSRule, grpc: bool = False) -> Origin:
    """Parse a rule's name, which consists of these (`agent.ir.http`). For a port without Routes it is the Service."""
    backend = rule.backends[0].backend if rule.name == UNROUTED else None
    if backend is not None:
        return Origin(backend.key, UNROUTED, 0)
    namespace, route, rest = rule.name.split("/", 2)
    if isinstance(rule, TLSRule):
        return Origin(Key("TLSRoute", namespace, route), rest)
    name, _, match = rest.rpartition("/")
    return Origin(Key("GRPCRoute" if grpc else "HTTPRoute", namespace, route), name, int(match))


def backends(slots: tuple[Slot, ...]) -> list[dict[str, Any]]:
    """An alias table as shares: the part of connections that each backend gets, or that the kernel refuses."""
    return [
        {"backend": "refused" if where is None else host_port(address_text(where[0]), where[1]), "share": float(share)}
        for where, share in sorted(shares(slots).items(), key=lambda item: (item[0] is None, item[0] or (b"", 0)))
    ]


def compact(value: msgspec.Struct) -> Any:
    """A value as in a manifest, without empty fields."""
    return _without_nothing(msgspec.to_builtins(value))


def behaviour(rule: Rule) -> dict[str, Any]:
    """A rule's filters that refer to backends, its retries and its session; each empty where it has none."""
    return {
        **describe_filters(rule.resolved),
        "retry": asdict(rule.retry) if rule.retry else None,
        "session": _session(rule.session) if rule.session else None,
    }


def _session(session: Session) -> dict[str, Any]:
    """How a session is identified. A cookie without a path is for the paths that its rule matches."""
    by = "header" if session.header else "cookie"
    return {"by": by, "name": session.name, "path": session.path, "seconds": session.seconds}


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        parts = {name: _without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in parts.items() if item not in (None, [], {}, ())}
    return [_without_nothing(item) for item in value] if isinstance(value, list | tuple) else value


def action_text(action: FrontendAction) -> str:
    """A frontend's action as text: `kernel`, `waypoint`, `pass`, `reject (no backend)`."""
    if action.kind is Action.REJECT:
        return f"reject ({Reason(action.base).name.lower().replace('_', ' ')})"
    return "kernel" if action.kind is Action.FORWARD else action.kind.name.lower()
