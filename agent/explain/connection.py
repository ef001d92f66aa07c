"""`weft explain`: evaluates a connection with the oracle on the kernel's tables and adds names.

For a connection to the waypoint, the answer includes what the waypoint does with the request.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from agent.explain.query import QueryError, TrafficQuery, parse_query
from agent.explain.render import action_text
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName
from agent.ir.services import service_key, service_name
from agent.ir.tables import ANY_NAMESPACE, Action, Reason, address_bytes, address_text
from agent.kernel.oracle.decide import decide
from agent.kernel.oracle.query import SocketContext, Tables
from agent.kernel.oracle.verdict import Outcome, RowsRead, Verdict
from agent.model.meta import Key

Document = dict[str, Any]

RECENT = 5
# What follows `name.namespace` in the name of a ServiceImport (KEP-1645).
CLUSTER_SET = ["svc", "clusterset", "local"]

SENTENCES = {
    Reason.NOT_ENROLLED: "the pod is not in the mesh: weft does not intercept its connections",
    Reason.UNKNOWN_POD: "the kernel has no row of this pod yet: weft does not intercept its connections",
    Reason.UNKNOWN_POD_REJECTED: "the kernel has no row of this pod yet, and rejects connections of such pods (EPERM)",
    Reason.NO_FRONTEND: "no Service of the mesh has this address and port: weft does not intercept the connection",
    Reason.FORWARDED: "the kernel connects it to a backend",
    Reason.TO_WAYPOINT: "the kernel connects it to the waypoint, because of a Route or of the label weft.dev/l7-scope",
    Reason.PASSED: "weft does not intercept the connection",
    Reason.NO_BACKEND: "no backend is ready: refused at once (ECONNREFUSED)",
    Reason.SHARE_REJECTED: "this is the share of an invalid backendRef: refused at once (ECONNREFUSED)",
    Reason.WAYPOINT_DIALLED: "pods may not connect to a waypoint directly (EPERM)",
    Reason.WAYPOINT_LOST: "no waypoint serves this port: refused at once (ECONNREFUSED)",
    Reason.POLICY_FORBIDS: "the client's node refuses it at once (ECONNREFUSED): the pod does not admit the client",
    Reason.OVER_BUDGET: "the namespace is at its budget of connections to the waypoint: refused at once (ECONNREFUSED)",
}


class ExplainError(Exception):
    """The query cannot be answered; the message is one sentence."""


Evaluate = Callable[[str, TrafficQuery], Document | None]
"""The agent's answer: what the waypoint does with a request to a frontend; None where no listener serves it."""


def parse(
    pod: str, destination: str, udp: bool = False, method: str = "", path: str = "", headers: Sequence[str] = ()
) -> TrafficQuery:
    """Parse `NAMESPACE/POD` and `HOST:PORT` or a URL. HOST:PORT is a request where a method, path or header is given,
    else a connection. Raises `QueryError`.
    """
    if "://" in destination:
        if path or udp:
            raise QueryError(f"{destination!r} is a URL: --path and --udp cannot be given with it")
        return parse_query(pod, method or "GET", destination, headers)
    host, _, port = destination.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise QueryError(f"{destination!r} is not HOST:PORT")
    if path and not path.startswith("/"):
        raise QueryError(f"--path: {path!r} does not begin with /")
    if udp and (method or path or headers):
        raise QueryError("--udp: the waypoint does not serve HTTP over UDP")
    scheme = "http" if method or path or headers else "udp" if udp else "tcp"
    return parse_query(pod, method or "GET", f"{scheme}://{destination}{path}", headers)


def explain(
    tables: Tables,
    status: Mapping[str, Any],
    events: Sequence[Document],
    query: TrafficQuery,
    now: int,
    evaluate: Evaluate,
) -> list[Document]:
    """One answer for each address of the destination.

    `status` and `events` (the decisions that it remembers) are the agent's, `now` is a CLOCK_MONOTONIC reading in ns.
    Raises `ExplainError`.
    """
    pod = _pod(status, f"{query.pod.namespace}/{query.pod.name}")
    addresses = list(_addresses(status, query))
    found = [_explain_one(tables, status, query, pod, address, now) for address in addresses]
    return [
        {**document, "waypoint": _at_waypoint(status, document, query, evaluate), "events": _events(events, document)}
        for document in found
    ]


def _at_waypoint(
    status: Mapping[str, Any], document: Document, query: TrafficQuery, evaluate: Evaluate
) -> Document | None:
    """What the waypoint does with a request; None where it does not go to the waypoint, or the query is a connection.
    Endpoints that are pods of this node are shown with their names.
    """
    sent = any(outcome["reason"] == Reason.TO_WAYPOINT.name.lower() for outcome in document["outcomes"])
    frontend = (document["frontend"] or {}).get("frontend")
    query = query.of_pod(document["pod"])
    found = evaluate(frontend, query) if sent and frontend and query.is_request else None
    if found is None:
        return None
    pods = _pod_names(status)
    named = [
        {**share, "pods": [pods.get(item.rpartition(":")[0]) for item in share["endpoints"]]}
        for share in found["shares"]
    ]
    return {**found, "shares": named}


def _pod_names(status: Mapping[str, Any]) -> dict[str, str]:
    """The pods of this node by address, as URLs have it."""
    return {f"[{item}]" if ":" in item else item: pod["pod"] for pod in status["pods"] for item in pod["addresses"]}


def _events(events: Sequence[Document], document: Document) -> list[Document]:
    """The last events for this pod and destination. The kernel emits events for a part of its decisions only."""
    destination, _, protocol = document["destination"].rpartition("/")
    found = [
        event
        for event in events
        if f"{event['namespace']}/{event['pod']}" == document["pod"]
        and (event["destination"], event["protocol"]) == (destination, protocol)
    ]
    return [
        {name: event[name] for name in ("time", "verdict", "reason", "errno", "backend")} for event in found[-RECENT:]
    ]


def _pod(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The pod of this name, or the one pod of a Deployment of this name."""
    found: list[Document] = [pod for pod in status["pods"] if pod["pod"] == name]
    found = found or [pod for pod in status["pods"] if pod["pod"].startswith(f"{name}-")]
    if not found:
        raise ExplainError(f"no pod {name} with a cgroup on node {status['node']}")
    if len(found) > 1:
        raise ExplainError(f"{name} is not one pod: {', '.join(pod['pod'] for pod in found)}")
    return found[0]


def _addresses(status: Mapping[str, Any], query: TrafficQuery) -> Iterator[str]:
    try:
        yield str(ipaddress.ip_address(query.host))
        return
    except ValueError:
        pass
    name, *rest = query.host.removesuffix(".").split(".")
    kind = "ServiceImport" if rest[1:] == CLUSTER_SET else "Service"
    service = service_name(Key(kind, rest[0] if rest else query.pod.namespace, name))
    ending = f":{query.port}/{query.protocol.name}"
    found = {
        item["frontend"].removesuffix(ending).strip("[]")
        for item in status["frontends"]
        if item["service"] == service and item["frontend"].endswith(ending)
    }
    if not found:
        raise ExplainError(f"{service_key(service)} has no port {query.port}/{query.protocol.name} in the mesh")
    yield from sorted(found)


def _explain_one(
    tables: Tables, status: Mapping[str, Any], query: TrafficQuery, pod: Mapping[str, Any], address: str, now: int
) -> Document:
    packed = address_bytes(address)
    verdict = decide(tables, _levels(pod["cgroup"]), packed, query.port, query.protocol, SocketContext(now=now))
    rows = verdict.rows
    planned = _planned(status, rows)
    return {
        "pod": pod["pod"],
        "destination": str(FrontendName(address, query.port, query.protocol)),
        "service": planned["service"] if planned else None,
        "client": _client(rows, pod),
        "frontend": _frontend(rows, planned, query.pod.namespace),
        "sources": _sources(status, planned),
        "outcomes": _outcomes(status, verdict),
    }


def _levels(cgroup: int) -> Sequence[int]:
    """The pod's cgroup at every level where the configuration may look."""
    return [cgroup] * 64


def _client(rows: RowsRead, pod: Mapping[str, Any]) -> Document:
    row = rows.client
    return {
        "cgroup": pod["cgroup"],
        "mode": row.mode.label if row else None,
        "modeReason": pod["modeReason"],
        "addresses": pod["addresses"],
        "consumerRoutes": bool(row.flags) if row else False,
    }


def _planned(status: Mapping[str, Any], rows: RowsRead) -> Mapping[str, Any] | None:
    """The agent's own record of the frontend that the kernel found."""
    if rows.frontend is None or rows.index is None:
        return None
    key = rows.frontend
    wanted = str(FrontendName(address_text(key.address), key.port, key.protocol))
    for item in status["frontends"]:
        name, _, consumer = item["frontend"].partition("@")
        if name == wanted and (name_id(consumer) if consumer else ANY_NAMESPACE) == key.namespace_id:
            return dict(item)
    return None


def _frontend(rows: RowsRead, planned: Mapping[str, Any] | None, client: str) -> Document | None:
    """The frontend that the kernel found. A row of a consumer namespace is that of the client."""
    if rows.index is None or rows.action is None or rows.service is None or rows.frontend is None:
        return None
    return {
        "frontend": planned["frontend"] if planned else None,
        "clients": f"namespace {client}" if rows.frontend.namespace_id else "all namespaces",
        "index": rows.index,
        "action": action_text(rows.action),
        "slots": [rows.action.base, rows.action.count] if rows.action.kind is Action.FORWARD else None,
        "waypointPort": rows.service.waypoint_port or None,
        "affinitySeconds": rows.service.affinity_seconds or None,
        "mode": planned["mode"] if planned else None,
    }


def _sources(status: Mapping[str, Any], planned: Mapping[str, Any] | None) -> list[Document]:
    """The Routes that apply, each with its status; the Service itself where there is none."""
    if planned is None:
        return []
    routes = {f"{route['kind']} {route['namespace']}/{route['name']}": route for route in status["routes"]}
    found = [
        {"object": name, "parents": routes[name]["parents"] if name in routes else []} for name in planned["routes"]
    ]
    return found or [{"object": str(service_key(planned["service"])), "parents": []}]


def _outcomes(status: Mapping[str, Any], verdict: Verdict) -> list[Document]:
    """The possible outcomes, the likeliest first."""
    pods = {address: pod["pod"] for pod in status["pods"] for address in pod["addresses"]}
    shares = sorted(verdict.shares.items(), key=lambda item: (-item[1], str(item[0])))
    return [
        {"share": float(share), **_outcome(outcome, pods, status["destinationPolicies"])} for outcome, share in shares
    ]


def _outcome(outcome: Outcome, pods: Mapping[str, str], policies: Mapping[str, str]) -> Document:
    """One outcome; with the destination and a policy where policies refuse the client."""
    location = outcome.target or outcome.refused
    address = address_text(location[0]) if location else None
    policy = policies.get(f"{outcome.policy:06x}") if outcome.policy else None
    return {
        "reason": outcome.reason.name.lower(),
        "message": SENTENCES[outcome.reason] + (f", by {policy}" if policy else ""),
        "address": address,
        "port": location[1] if location else None,
        "pod": pods.get(address) if address else None,
        "policy": policy,
    }
