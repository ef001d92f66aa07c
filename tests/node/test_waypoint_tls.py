"""TLS by server name, unopened: who gets which connection."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.ir.http import BackendPort, TLSRule, WeightedBackend
from support.waypoint.chance import bound
from support.waypoint.fixtures import OTHER_CLIENT, waypoint_node
from support.waypoint.rules import to
from support.waypoint.tls import CLOSED, TLSNode

pytestmark = pytest.mark.node
TIMES = 150
NO_ENDPOINT = BackendPort("app", "nobody", 443, "tcp")


@pytest.fixture(scope="module")
def tls() -> Iterator[TLSNode]:
    with waypoint_node() as made:
        yield TLSNode.of(made)


@pytest.fixture(scope="module")
def one(tls) -> Iterator[BackendPort]:
    with tls.server("one") as made:
        yield made


@pytest.fixture(scope="module")
def two(tls) -> Iterator[BackendPort]:
    with tls.server("two") as made:
        yield made


def names(*server_names: str, to: tuple[WeightedBackend, ...]) -> TLSRule:
    """A rule for these server names; its name is theirs."""
    return TLSRule("app/" + (",".join(server_names) or "any"), server_names, to)


@pytest.mark.feature("TLSRoute: server name*", "TLSRoute: no match: closed")
def test_the_most_specific_name_wins(tls, one, two):
    three = (WeightedBackend(NO_ENDPOINT, 1),)
    port = tls.serve(
        [
            names("*.example.com", to=to(one)),
            names("*.deep.example.com", "other.net", to=to(two)),
            names("a.example.com", to=to(two)),
            names("none.example.com", to=three),
        ]
    )
    found = {
        name: tls.ask(port, name)
        for name in ("a.example.com", "b.example.com", "x.deep.example.com", "deep.example.com", "B.Example.com")
    }
    assert found == {
        "a.example.com": "two a.example.com",
        "b.example.com": "one b.example.com",
        "x.deep.example.com": "two x.deep.example.com",
        "deep.example.com": "one deep.example.com",
        "B.Example.com": "one B.Example.com",
    }
    for name in ("example.com", "none.example.com", "other.org", None):
        assert tls.ask(port, name) == CLOSED


@pytest.mark.feature("TLSRoute: any server name")
def test_a_route_without_names_takes_the_rest(tls, one, two):
    port = tls.serve([names("a.example.com", to=to(one)), names(to=to(two))])
    requested_names = ("a.example.com", "b.example.com", None)
    assert [tls.ask(port, name) for name in requested_names] == ["one a.example.com", "two b.example.com", "two None"]


def test_what_is_no_tls_is_closed(tls, one):
    port = tls.serve([names("a.example.com", to=to(one)), names(to=to(one))])
    answer = b""
    with suppress(ConnectionResetError):
        answer = tls.node.raw(port, b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
    assert answer == b""


@pytest.mark.feature("TLSRoute: backends, weights", "TLSRoute: invalid backend: its share is closed")
@pytest.mark.parametrize(
    ("backends", "shares"),
    [
        (("one", "two"), {"one": 0.75, "two": 0.25}),
        (("one", None), {"one": 0.75, CLOSED: 0.25}),
        (("one", "nobody"), {"one": 0.75, CLOSED: 0.25}),
        ((None, None), {CLOSED: 1}),
    ],
    ids=["weights", "invalid", "no-endpoint", "all-invalid"],
)
def test_shares(tls, one, two, backends, shares):
    known = {"one": one, "two": two, "nobody": NO_ENDPOINT, None: None}
    port = tls.serve([names("a.example.com", to=to(*(known[name] for name in backends), weights=(3, 1)))])
    counts = Counter(tls.ask(port, "a.example.com").split()[0] for _ in range(TIMES))
    assert counts.keys() == shares.keys()
    assert [name for name, share in shares.items() if abs(counts[name] - TIMES * share) > bound(share, TIMES)] == []


def test_nothing_but_weights_of_0_is_closed(tls):
    assert tls.ask(tls.serve([names("a.example.com", to=())]), "a.example.com") == CLOSED


def test_strangers_are_not_let_in(tls, one):
    port = tls.serve([names("a.example.com", to=to(one))])
    assert tls.ask(port, "a.example.com", OTHER_CLIENT) == CLOSED


def test_a_new_name_leaves_connections_of_others_alone(tls, one, two):
    first = names("a.example.com", to=to(one))
    port = tls.serve([first], name="app/growing:443")
    with tls.connection(port, "a.example.com") as connection:
        tls.serve([first, names("b.example.com", to=to(two))], name="app/growing:443")
        assert tls.ask(port, "b.example.com") == "two b.example.com"
        assert connection.recv(1000) == b"one a.example.com"
        connection.sendall(b"more")
        assert connection.recv(1000) == b"more"
