"""Sessions: a cookie or header in which Envoy finds the endpoint that the client had before."""

import re

from agent.ir.http import Rule, Session
from agent.ir.resources import Json
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch

# The listener's filter, which does nothing for routes without a session.
NAME = "session"
TYPE = "type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession"
PER_ROUTE = f"{TYPE}PerRoute"
STATE = "type.googleapis.com/envoy.extensions.http.stateful_session"
_REGEX = re.compile(r"[^A-Za-z0-9/_%~:@!,=-]")
# What ends a path in a cookie's attributes.
_END = re.compile(";")


def session_config(rule: Rule) -> Json:
    """The filter's part of a rule's route; nothing for a rule without sessions.

    Envoy finds the session's extension by its name, not by its type as elsewhere (1.40).
    """
    if rule.session is None:
        return {}
    state = _header(rule.session) if rule.session.header else _cookie(rule.session, rule.match)
    return {NAME: {"@type": PER_ROUTE, "stateful_session": {"session_state": state}}}


def _header(session: Session) -> Json:
    config = {"@type": f"{STATE}.header.v3.HeaderBasedSessionState", "name": session.name}
    return {"name": "envoy.http.stateful_session.header", "typed_config": config}


def _cookie(session: Session, match: HTTPRouteMatch | GRPCRouteMatch) -> Json:
    """Envoy writes the expiry into the cookie's value and does not check it. The client gets the expiry too."""
    cookie = {
        "name": session.name,
        "path": session.path or cookie_path(match),
        "attributes": [{"name": "SameSite", "value": "Strict"}],
        **({"ttl": f"{session.seconds}s"} if session.seconds is not None else {}),
    }
    config = {"@type": f"{STATE}.cookie.v3.CookieBasedSessionState", "cookie": cookie}
    return {"name": "envoy.http.stateful_session.cookie", "typed_config": config}


def cookie_path(match: HTTPRouteMatch | GRPCRouteMatch) -> str:
    """The paths for which a client sends the cookie: those that the rule matches, of a regular expression the part
    before its first special character (GEP-1619, "Path").
    """
    if isinstance(match, GRPCRouteMatch):
        return "/"
    special = _REGEX if match.path.type == "RegularExpression" else _END
    plain, *rest = special.split(match.path.value, maxsplit=1)
    if match.path.type == "RegularExpression" or rest:
        plain = plain.rpartition("/")[0]
    return plain.rstrip("/") or "/"
