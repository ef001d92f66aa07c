"""Objects that nobody should write, made deterministically: wrong types everywhere, and known tricks."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from agent.sources.decode import KINDS

WRONG: tuple[Any, ...] = (None, 7, -1, 2**70, "\u202e\x00é", [], {}, [[[]]], True)
PARENT = {"group": "", "kind": "Service", "name": "web", "port": 80}
BACKEND = {"name": "web", "port": 80, "weight": 1}
BODIES: dict[str, dict[str, Any]] = {
    "Namespace": {},
    "Pod": {"spec": {"nodeName": "n", "hostNetwork": False}, "status": {"phase": "Running", "podIP": "10.0.0.9"}},
    "Service": {"spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}},
    "EndpointSlice": {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": True}}],
    },
    "HTTPRoute": {
        "spec": {
            "parentRefs": [PARENT],
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": "/a"}, "headers": [{"name": "a", "value": "b"}]}],
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}],
                    "timeouts": {"request": "1s"},
                    "backendRefs": [BACKEND],
                }
            ],
        }
    },
    "GRPCRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "TCPRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "UDPRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "TLSRoute": {"spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND]}]}},
    "ReferenceGrant": {"spec": {"from": [{"group": "", "kind": "X", "namespace": "a"}], "to": []}},
}


def hostile_documents() -> list[tuple[str, bool]]:
    """Texts with whether they are JSON; at least 500 of them."""
    found = [(json.dumps(item), True) for item in (*_wrong_types(), *_tricks())]
    return [*found, *((text, False) for text in _texts())]


def _good(kind: str) -> dict[str, Any]:
    body = copy.deepcopy(BODIES[kind])
    return {"apiVersion": KINDS[kind][1][0], "kind": kind, "metadata": {"name": "bad", "namespace": "app"}, **body}


def _wrong_types() -> Iterator[dict[str, Any]]:
    """Every value of a good object of every kind, replaced by each wrong one."""
    for kind in KINDS:
        for path in _paths(_good(kind)):
            for wrong in WRONG:
                item = _good(kind)
                holder: Any = item
                for step in path[:-1]:
                    holder = holder[step]
                holder[path[-1]] = wrong
                yield item


def _paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*above, step)
        yield from _paths(inner, (*above, step))


def _tricks() -> Iterator[dict[str, Any]]:
    """What has the right types and no sense."""
    route = _good("HTTPRoute")
    for rules in ([{}] * 10_000, [], [{"backendRefs": [BACKEND] * 5_000}], [{"matches": [{}] * 5_000}]):
        yield {**route, "spec": {"parentRefs": [PARENT], "rules": rules}}
    for regex in ("(", "(?=a)", "(a{1000}){1000}", "a" * 5_000, "\\", "[[:nope:]]"):
        match = {"path": {"type": "RegularExpression", "value": regex}}
        yield {**route, "spec": {"parentRefs": [PARENT], "rules": [{"matches": [match], "backendRefs": [BACKEND]}]}}
    for value in ("a\r\nb: c", "a\x00", "%", "%REQ(x)%"):
        change = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": value}]}}
        yield {**route, "spec": {"parentRefs": [PARENT], "rules": [{"filters": [change], "backendRefs": [BACKEND]}]}}
    for weight in (-1, 2**31, 1e400, 0.5, "1"):
        yield {
            **_good("TCPRoute"),
            "spec": {"parentRefs": [PARENT], "rules": [{"backendRefs": [BACKEND | {"weight": weight}]}]},
        }
    port = {"name": "http", "port": 80}
    yield {**_good("Service"), "spec": {"clusterIP": "10.96.0.9", "ports": [port, port]}}
    for name in ("..", "../etc", "a b", "\u00e9", "bad\nname", "bad\x1b[31m"):
        yield {**_good("Service"), "metadata": {"name": name, "namespace": "app"}}
    yield {**_good("TCPRoute"), "metadata": {"name": "x" * 100_000, "namespace": "app"}}
    yield {**_good("Pod"), "metadata": {"name": "bad", "labels": {"weft.dev/mode": "\n"}}}
    yield {"apiVersion": "v1", "kind": "List", "items": [[[[]]]]}


def _texts() -> Iterator[str]:
    """What is not even a document."""
    yield "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    yield "[" * 2_000
    yield "{" * 2_000
    yield "kind: HTTPRoute\nkind: Service\n"
    yield "!!python/object/apply:os.system [true]\n"
    yield "\t- x"
    yield "? [a]\n: b\n"
    yield ".nan"
