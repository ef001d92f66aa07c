"""Evaluates a request or a TLS connection at the waypoint; the result is one document."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from agent.explain.answer import Share, answer
from agent.explain.matching import rule_for
from agent.explain.query import TrafficQuery
from agent.explain.refusal import FORBIDDEN, audit, verdict
from agent.explain.render import behaviour, compact, origin
from agent.ir.http import BackendPort, EndpointAddress, HTTPListenerIR, ListenerIR, Rule, TLSListenerIR
from agent.ir.identity import PROXY_TLV, XFCC_HEADER, Identity, spiffe_id, xfcc_value
from agent.ir.plan import Output
from agent.ir.request import Headers
from agent.ir.requirements import AuditedRequirements, Requirements, unmet
from agent.ir.tables import host_port
from agent.translate.filters.registry import HTTP_FILTERS, describe_filters
from agent.translate.rule_requirements import audits_of_rule, judged, judged_audits, of_connection, of_rule

Document = dict[str, Any]
NO_ENDPOINT = 503


def evaluate(rules: ListenerIR, output: Output, client: Identity | None, query: TrafficQuery) -> Document:
    """Evaluate a client's query by the rules of a listener, and the endpoints and policies in its output. `warning` is
    about a client whose protocol is not that of the listener.
    """
    if isinstance(rules, HTTPListenerIR):
        found = _answered(rules, output, client, query)
    else:
        found = _passed_through(rules, output, client, query)
    return {**found, "warning": _warning(rules, query.scheme) or None}


def _warning(rules: ListenerIR, scheme: str) -> str:
    """What happens to a client whose protocol is not the listener's."""
    if isinstance(rules, TLSListenerIR):
        return "" if scheme == "https" else "the waypoint expects TLS on this port, and closes other connections"
    if scheme == "https":
        return "the waypoint expects clear text on this port: a TLS handshake fails"
    return "" if scheme == "http" else "the waypoint expects HTTP on this port, and answers other protocols with 400"


def _clients(rules: ListenerIR) -> str:
    return f"namespace {rules.consumer}" if rules.consumer else "all namespaces"


def _answered(rules: HTTPListenerIR, output: Output, client: Identity | None, query: TrafficQuery) -> Document:
    found = answer(rules, query.request)
    requirements = of_rule(found.rule, output.requirements) if found.rule else ()
    refused = found.status is not None and unmet(requirements, client, query.request) is not None
    return {
        "listener": rules.name,
        "clients": _clients(rules),
        "rule": _rule(found.rule, rules) if found.rule else None,
        "status": FORBIDDEN if refused else found.status,
        "location": None if refused else found.location or None,
        **{fact.name: found.facts.get(fact.name) for item in HTTP_FILTERS for fact in item.facts},
        "shares": [
            _share(
                replace(item, headers=_with_identity(item.headers, rules, client)),
                output,
                verdict(_requirements(item, requirements, output), client, query.request)
                | {"audit": audit(_audits(item, found.rule, output), client, query.request)},
                query,
            )
            for item in found.shares
        ],
        "responseHeaders": [compact(item) for item in found.response],
    }


def _with_identity(headers: Headers, rules: HTTPListenerIR, client: Identity | None) -> Headers:
    """The headers that a backend gets, with the identity of the client where the Service asks for it."""
    if not rules.xfcc_trust_domain:
        return headers
    others = tuple((name, value) for name, value in headers if name.lower() != XFCC_HEADER)
    if client is None or not client.service_account:
        return others
    return (*others, (XFCC_HEADER, xfcc_value(client.namespace, client.service_account, rules.xfcc_trust_domain)))


def _proxy_header(backend: BackendPort | None, client: Identity | None) -> Document | None:
    """What the header of the PROXY protocol says that a backend gets; None where it gets no header. `identity` is empty
    where the client's is not known.
    """
    if backend is None or not backend.proxy_trust_domain:
        return None
    found = ""
    if client is not None and client.service_account:
        found = spiffe_id(client.namespace, client.service_account, backend.proxy_trust_domain)
    return {"version": 2, "tlv": PROXY_TLV, "identity": found}


def _requirements(share: Share, of_every_share: Requirements, output: Output) -> Requirements:
    own = output.requirements.get(share.backend, ()) if share.backend else ()
    return judged({*own, *of_every_share}, share.filters)


def _audits(share: Share, rule: Rule | None, output: Output) -> tuple[AuditedRequirements, ...]:
    own = output.audits.get(share.backend, ()) if share.backend else ()
    return judged_audits({*own, *(audits_of_rule(rule, output.audits) if rule else ())}, share.filters)


def _passed_through(rules: TLSListenerIR, output: Output, client: Identity | None, query: TrafficQuery) -> Document:
    """The backends by the server name (SNI) of a TLS client; Envoy closes connections that are not TLS, and those of
    clients that one of the backends refuses.
    """
    name = query.server_name
    rule = rule_for(rules, name) if query.scheme == "https" else None
    total = sum(item.weight for item in rule.backends) if rule else 0
    shares = [(item.weight / total, item.backend) for item in rule.backends] if rule else []
    decided = verdict(of_connection(rule, output.requirements) if rule else (), client, None)
    return {
        "listener": rules.name,
        "clients": _clients(rules),
        "serverName": name,
        "rule": {"route": str(origin(rule).route), "rule": origin(rule).rule, "serverNames": list(rule.server_names)}
        if rule
        else None,
        "shares": [
            {
                "share": part,
                "backend": backend.cluster if backend else "invalid",
                "endpoints": _texts(output.endpoints[backend]) if backend and decided["refusedBy"] is None else [],
                "proxyProtocol": _proxy_header(backend, client) if decided["refusedBy"] is None else None,
                **decided,
                "audit": None,
            }
            for part, backend in shares
        ],
    }


def _rule(rule: Rule, rules: HTTPListenerIR) -> Document:
    found = origin(rule, rules.grpc)
    timeouts = {"requestMs": rule.request_timeout, "backendRequestMs": rule.backend_timeout}
    return {
        "name": rule.name,
        "route": str(found.route),
        "rule": found.rule,
        "matchIndex": found.match,
        "match": compact(rule.match),
        "filters": [compact(item) for item in rule.filters],
        "timeouts": {key: value for key, value in timeouts.items() if value is not None},
        **behaviour(rule),
    }


def _share(share: Share, output: Output, decided: Document, query: TrafficQuery) -> Document:
    """A share that the waypoint answers itself has no request to a backend."""
    refused = share.backend is not None and decided["refusedBy"] is not None
    has_request = share.status is None and not refused
    addresses = _texts(output.endpoints[share.backend]) if share.backend and has_request else []
    status = FORBIDDEN if refused else share.status
    return {
        "share": float(share.part),
        "backend": share.backend.cluster if share.backend else "invalid",
        "request": {"method": query.request.method, "authority": share.authority, "target": share.target}
        if has_request
        else None,
        "endpoints": addresses,
        "status": NO_ENDPOINT if has_request and not addresses else status,
        "location": None if refused else share.location or None,
        **decided,
        "headers": [f"{name}: {value}" for name, value in share.headers],
        "responseHeaders": [compact(item) for item in share.response],
        **describe_filters(share.resolved),
    }


def _texts(addresses: Iterable[EndpointAddress]) -> list[str]:
    return [host_port(*item) for item in addresses]
