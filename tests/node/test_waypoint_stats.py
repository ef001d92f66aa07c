"""Envoy counts requests, and the agent reads the counts: what they say, and what happens when there are too many."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.ir.access_log import EXPLAIN, NO_MATCH
from agent.ir.http import Pool, Session
from agent.ir.request_stats import OTHER, Outcome, Series, Sums
from agent.ir.resources import ResourceName, ResourceType
from agent.model.routes import GRPCRouteMatch
from agent.waypoint import admin
from agent.waypoint.process import admin_socket
from agent.waypoint.request_stats import Process, parse
from agent.waypoint.xds.request_stats import MAX_OUTCOMES, MAX_SERIES
from agent.waypoint.xds.runtime import LAYER, runtime
from support.waypoint.caller import call
from support.waypoint.client import exchange
from support.waypoint.fixtures import CLIENT, WaypointNode, wait_for, waypoint_node
from support.waypoint.rules import NO_ENDPOINTS, V1, V1_H2C, V2, any_path, exact, rule, to

pytestmark = pytest.mark.node
CLIENTS = [f"127.0.7.{number}" for number in range(1, 101)]
PATHS = [f"/{number}" for number in range(100)]
# Of Envoy, for all series that there may be: 10 kB for a series, and its share of outcomes.
SERIES_MEGABYTES = 20


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


class Counts:
    """What Envoy counted since this was made."""

    def __init__(self, node: WaypointNode) -> None:
        self._socket = admin_socket(node.folder, "blue")
        self._process = Process()
        wait_for("histograms of earlier requests are merged", self._is_merged)
        self._process.grow(self.read())
        self.sums: dict[Series | None, Sums] = {}

    def text(self) -> str:
        return admin.request_statistics(self._socket)

    def read(self):
        return parse(self.text())

    def _is_merged(self) -> bool:
        total = self.read().total
        return sum(total.histograms[1].counts) == total.requests

    def grow(self) -> "Counts":
        for series, grown in self._process.grow(self.read()):
            self.sums.setdefault(series, Sums()).add(grown)
        return self

    @property
    def requests(self) -> int:
        return sum(sums.requests for sums in self.sums.values())

    def of(self, listener: str) -> dict[Series | None, dict[Outcome, int]]:
        """Requests to one listener, by series and outcome, once there are any."""
        wait_for("they are counted", lambda: any(item and item.listener == listener for item in self.grow().sums))
        return {item: sums.outcomes for item, sums in self.sums.items() if item and item.listener == listener}

    def sizes(self, series: Series) -> list[int]:
        """The requests in each of its histograms, which Envoy merges every five seconds."""
        return [sum(histogram.counts) for histogram in self.grow().sums[series].histograms]


def test_a_request_is_counted_by_client_listener_rule_and_backend(node):
    counts, name = Counts(node), node.add((rule(exact("/only"), to(V1)),), name="app/counted:80@shop")
    port = node.serving(name)
    for path in ("/only", "/only", "/other"):
        node.ask(port, path)
    assert counts.of(name) == {
        Series(CLIENT, name, "app/route/0/0", V1.cluster): {Outcome("200"): 2},
        Series(CLIENT, name, NO_MATCH, ""): {Outcome("404"): 1},
    }


def test_the_result_of_a_request_is_counted(node):
    rules = [
        rule(exact("/nobody"), to(NO_ENDPOINTS)),
        rule(exact("/invalid"), to(None)),
        rule(exact("/gone"), to(V1)),
    ]
    counts, name = Counts(node), node.add(rules, name="app/failed:80")
    port = node.serving(name)
    for path in ("/nobody", "/invalid", "/gone"):
        node.ask(port, f"{path}?close=1")
    wait_for("all are counted", lambda: len(counts.of(name)) == 3)
    assert {item.cluster: [*outcomes] for item, outcomes in counts.of(name).items()} == {
        NO_ENDPOINTS.cluster: [Outcome("503", "", "UH")],
        "": [Outcome("500")],
        V1.cluster: [Outcome("503", "", "UC")],
    }


def test_grpc_calls_are_counted_by_their_status(node):
    counts = Counts(node)
    assert call(node, [rule(GRPCRouteMatch(), to(V1_H2C))], "/told.Echo/Call") == ["v1"]
    wait_for("it is counted", lambda: any(item and item.grpc for item in counts.grow().sums))
    assert [sums.outcomes for item, sums in counts.sums.items() if item and item.grpc] == [{Outcome("200", "0"): 1}]


def test_the_member_of_a_pool_that_answered_is_counted(node):
    rules = [rule(any_path(), to(V1, V2, weights=(0, 1)), session=Session("s", pool=Pool((V1, V2))))]
    counts, name = Counts(node), node.add(rules, name="app/pool:80")
    node.ask(node.serving(name), "/")
    assert [item.members for item in counts.of(name)] == [(V2.cluster,)]


def test_sizes_are_those_of_headers_and_bodies_and_times_have_microseconds(node):
    counts, name = Counts(node), node.add((rule(any_path(), to(V1)),), name="app/sized:80")
    node.ask(node.serving(name), "/?body=100000", headers=[("X-Large", "x" * 5000)])
    (series,) = counts.of(name)
    wait_for("histograms are merged", lambda: counts.sizes(series) == [1, 1, 1])
    duration, received, sent = counts.sums[series].histograms
    assert 0 < duration.sum < 1e6
    # Envoy estimates sums, to within a twentieth.
    assert 4800 < received.sum < 6500
    assert 95_000 < sent.sum < 112_000


def test_requests_are_reported_only_where_someone_asks(node):
    """Of a namespace without an access log only those of `weft explain --live` are; the listener stays as it is."""
    name = node.add((rule(any_path(), to(V1)),), name="quiet/web:80")
    port, listeners = node.serving(name), node.statistic("listener_manager.listener_modified")
    node.ask(port, "/unasked")
    node.ask(port, "/explained", headers=[("X-Request-Id", f"{EXPLAIN}1")])
    wait_for("it is reported", lambda: any(item.path == "/explained" for item in node.ads.exchanges))
    node.resources[ResourceName(ResourceType.RUNTIME, LAYER)] = runtime(["app", "quiet"])
    node.publish()
    wait_for("the runtime is acknowledged", node.settled)
    node.ask(port, "/asked")
    wait_for("it is reported", lambda: any(item.path == "/asked" for item in node.ads.exchanges))
    assert not any(item.path == "/unasked" for item in node.ads.exchanges)
    assert node.statistic("listener_manager.listener_modified") == listeners


def test_ten_thousand_combinations_are_counted_and_bounded(node):
    """A hundred clients ask by a hundred rules each. Envoy has series for some of them; the rest is counted as well."""
    node.allow_clients(CLIENT, *CLIENTS)
    rules = [replace(rule(exact(path), to(V1)), name=f"app/many{path}/0") for path in PATHS]
    name = node.add(rules, name="app/many:80")
    port, counts, memory = node.serving(name), Counts(node), node.statistic("server.memory_allocated")
    for client in CLIENTS:
        with node.connection(port, client) as connection:
            assert {exchange(connection, path).status for path in PATHS} == {200}
    wait_for("all are counted", lambda: counts.grow().requests == 10_000)
    named = {item: sums.requests for item, sums in counts.sums.items() if item is not None}
    assert MAX_SERIES / 2 < len(named) <= MAX_OUTCOMES
    assert counts.sums[None].outcomes == {OTHER: 10_000 - sum(named.values())}

    def merged() -> bool:
        """Histograms too have every request, in a series or in the rest."""
        counts.grow()
        return [sum(sum(item.histograms[kind].counts) for item in counts.sums.values()) for kind in range(3)] == [
            10_000
        ] * 3

    wait_for("histograms are merged", merged)
    assert node.statistic("server.memory_allocated") - memory < SERIES_MEGABYTES * 2**20
    assert len(counts.text()) < 6 * 2**20
