"""Which TLSRoute the simulation gives a connection to is which the real Envoy gives it to."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agent.explain.matching import rule_for
from agent.ir.http import TLSListenerIR, TLSRule
from support.waypoint.fixtures import waypoint_node
from support.waypoint.rules import to
from support.waypoint.tls import CLOSED, TLSNode

pytestmark = pytest.mark.node

RULE_NAMES = {
    "one": ("*.example",),
    "two": ("*.b.example", "other.net"),
    "three": ("a.b.example",),
    "four": (),
}
SERVER_NAMES = (
    *(
        "a.b.example",
        "A.B.example",
        "x.b.example",
        "x.y.b.example",
        "b.example",
        "x.example",
        "other.net",
        "x.other.net",
    ),
    *("example", "xexample", None),
)


@pytest.fixture(scope="module")
def tls() -> Iterator[TLSNode]:
    with waypoint_node() as made:
        yield TLSNode.of(made)


@pytest.mark.parametrize("servers", [("one", "two", "three"), ("one", "two", "three", "four"), ("four",)])
def test_envoy_gives_connections_to_whom_the_simulation_does(tls: TLSNode, servers: tuple[str, ...]) -> None:
    with ExitStack() as stack:
        backends = {name: stack.enter_context(tls.server(name)) for name in servers}
        rules = tuple(TLSRule(f"app/{name}/0", RULE_NAMES[name], to(backends[name])) for name in servers)
        port = tls.serve(rules)
        found = {name: tls.ask(port, name).split()[0] for name in SERVER_NAMES}
    chosen = {name: rule_for(TLSListenerIR("app/tls:443", "", rules), name or "") for name in SERVER_NAMES}
    assert found == {name: rule.name.split("/")[1] if rule else CLOSED for name, rule in chosen.items()}
