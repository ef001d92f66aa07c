"""Lines about a request at the waypoint (`agent.explain.evaluate`)."""

import json
from collections.abc import Iterator
from typing import Any

from agent.translate.filters.registry import HTTP_FILTERS, describe_filters

Line = tuple[str, str]


def lines(found: dict[str, Any]) -> Iterator[Line]:
    """The label and the text of each line."""
    if "serverName" in found:
        yield from _passed_through(found)
        return
    yield from _rule(found)
    if found["status"] is not None:
        where = f", location {found['location']}" if found["location"] else ""
        yield "answer", f"{found['status']} from the waypoint{where}"
    facts = (fact for item in HTTP_FILTERS for fact in item.facts)
    yield from ((fact.label, fact.format(found[fact.name])) for fact in facts if found[fact.name] is not None)
    yield from _shares(found["shares"])


def _shares(shares: list[dict[str, Any]]) -> Iterator[Line]:
    """Backends. A request that is the same for several of them is printed once."""
    shown = None
    for item in shares:
        sent = item["request"]
        if sent is not None and sent != shown:
            yield "request", f"{sent['method']} {sent['target']}, host {sent['authority']}"
            shown = sent
        where = f", location {item['location']}" if item["location"] else ""
        what = f"{item['status']} from the waypoint{where}" if item["status"] else ", ".join(item["endpoints"])
        yield "backend", f"{item['share']:6.1%}  {item['backend']}: {what}{_policies(item)}"
        if audit := item["audit"]:
            would = "admit" if audit["admitted"] else "refuse"
            yield "audit", f"        audited, not enforced: {', '.join(audit['policies'])} would {would} it"
        yield from (("header", f"        {text}") for text in item["headers"])


def _policies(share: dict[str, Any]) -> str:
    """Which policies of a backend admit or refuse the client, if it has any."""
    if share["refusedBy"] is not None:
        what = f"the request: {share['refusal']}" if share["refusal"] else "the client"
        return f", because {', '.join(share['refusedBy'])} refuses {what}"
    return f", to which {', '.join(share['policies'])} admits the client" if share["policies"] else ""


def _rule(found: dict[str, Any]) -> Iterator[Line]:
    rule = found["rule"]
    if rule is None:
        yield "rule", f"no rule of listener {found['listener']} matches"
        return
    yield "rule", f"{rule['route']}, rule {rule['rule']}, match {rule['matchIndex']}: {json.dumps(rule['match'])}"
    yield from (("filter", json.dumps(item)) for item in rule["filters"])
    yield from (("timeout", f"{name} {value}") for name, value in rule["timeouts"].items())
    yield from ((name, json.dumps(rule[name])) for name in (*describe_filters(()), "retry", "session") if rule[name])


def _passed_through(found: dict[str, Any]) -> Iterator[Line]:
    rule = found["rule"]
    if rule is None:
        yield (
            "rule",
            f"no rule of listener {found['listener']} is for {found['serverName'] or 'no server name'}: closed",
        )
        return
    names = ", ".join(rule["serverNames"]) or "any server"
    yield "rule", f"{rule['route']}, rule {rule['rule']}, for {names}"
    for item in found["shares"]:
        what = ", ".join(item["endpoints"]) or "closed"
        yield "backend", f"{item['share']:6.1%}  {item['backend']}: {what}{_policies(item)}"
        if header := item["proxyProtocol"]:
            client = header["identity"] or "empty, the client is not known"
            yield "header", f"        PROXY protocol v{header['version']}, TLV {header['tlv']:#x}: {client}"
