"""An Envoy that serves other than it acknowledged, because something of its stream was lost: found, and healed."""

import itertools
from collections.abc import Iterable, Iterator

import pytest

from agent.ir.http import BackendPort, Rule
from agent.ir.resources import ResourceName, ResourceType
from agent.waypoint.config_dump import Drift
from agent.waypoint.xds.client_allow_list import client_allow_list_name
from support.waypoint.ads import WAYPOINT, AdsThread
from support.waypoint.fixtures import CLIENT, OTHER_CLIENT, PORTS, WaypointNode, wait_for, waypoint_node
from support.waypoint.relay import Relay
from support.waypoint.rules import V1, any_path, rule, to

pytestmark = pytest.mark.node


class WebListener:
    """One listener and what belongs to it, at a waypoint whose Envoy talks to the agent through a relay."""

    _numbers = itertools.count(1)

    def __init__(self, node: WaypointNode, relay: Relay) -> None:
        self.node, self.relay = node, relay
        self.consumer = f"team{next(self._numbers)}"
        self.backend = BackendPort(self.consumer, "web", 80)
        self.listener = f"{self.consumer}/web:80"
        self.routes_to(PORTS["v1"])
        self.allows(CLIENT)
        self.has([rule(any_path(), to(self.backend))])

    def named(self, kind: ResourceType) -> ResourceName:
        """The resource of this kind."""
        clusters = dict.fromkeys((ResourceType.CLUSTER, ResourceType.ENDPOINT), self.backend.cluster)
        return ResourceName(
            kind, (clusters | {ResourceType.EXTENSION: client_allow_list_name(self.consumer)}).get(kind, self.listener)
        )

    def has(self, rules: Iterable[Rule]) -> None:
        """Not published yet; so are the next two."""
        self.node.add(rules, name=self.listener, consumer=self.consumer)

    def routes_to(self, *ports: int) -> None:
        self.node.servers["web"] = list(ports)
        self.node.add_clusters([self.backend])

    def allows(self, address: str) -> None:
        self.node.allow_clients(address, consumer=self.consumer)

    @property
    def port(self) -> int:
        return self.node.ports[self.listener]

    def serve(self) -> None:
        """Publish, and wait until it is served."""
        self.node.publish()
        wait_for("it is served", lambda: self.node.answers(WAYPOINT, self.port) and self.node.ask(self.port).pod)

    def lose(self, kind: ResourceType) -> ResourceName:
        """Publish; of that the resource of this kind gets lost."""
        before, name = self.relay.lost, self.named(kind)
        self.relay.lose = {name}
        self.node.publish()
        wait_for("something is lost", lambda: self.relay.lost > before)
        self.relay.lose = set()
        return name

    def first(self) -> Drift:
        """What audits find first; they heal it."""
        found = Drift()

        def look() -> bool:
            nonlocal found
            found = self.node.ads.audit()
            return bool(found)

        wait_for("something is found", look)
        return found

    def is_healed(self) -> bool:
        """Whether Envoy has answered to all that it was sent again, and serves it."""
        own = {self.named(kind) for kind in ResourceType} & self.node.resources.keys()
        return own <= self.node.ads.server.acknowledged() and not self.node.ads.audit()


@pytest.fixture(scope="module")
def relayed() -> Iterator[tuple[WaypointNode, Relay]]:
    with waypoint_node() as made:
        made.ads.stop()
        agent, socket = made.folder / "agent.sock", made.folder / "xds.sock"
        socket.unlink(missing_ok=True)
        made.ads = AdsThread(agent)
        relay = Relay(socket, agent)
        try:
            wait_for("Envoy connects", lambda: made.ads.server.envoys)
            yield made, relay
        finally:
            relay.stop()


@pytest.fixture
def web(relayed: tuple[WaypointNode, Relay]) -> WebListener:
    return WebListener(*relayed)


@pytest.mark.parametrize("kind", [kind for kind in ResourceType if kind.dump.lists], ids=lambda kind: kind.label)
def test_what_never_came(web, kind):
    lost = web.lose(kind)
    assert web.first() == Drift(lacks=frozenset({lost}))
    web.serve()
    wait_for("it is healed", web.is_healed)


def test_an_edit_of_a_route_that_never_came(web):
    web.serve()
    web.has([rule(any_path(), ())])
    lost = web.lose(ResourceType.ROUTE)
    assert web.node.ask(web.port).status == 200
    assert web.first() == Drift(lacks=frozenset({lost}))
    wait_for("it is healed", web.is_healed)
    assert web.node.ask(web.port).status == 500


def test_endpoints_that_never_came(web):
    web.serve()
    web.routes_to(PORTS["v2"])
    lost = web.lose(ResourceType.ENDPOINT)
    assert web.node.ask(web.port).pod == "v1"
    assert web.first() == Drift(lacks=frozenset({lost}))
    wait_for("it is healed", web.is_healed)
    assert web.node.ask(web.port).pod == "v2"


def test_a_client_that_should_have_been_shut_out(web):
    web.serve()
    web.allows(OTHER_CLIENT)
    lost = web.lose(ResourceType.EXTENSION)
    assert web.node.ask(web.port).status == 200
    assert web.first() == Drift(lacks=frozenset({lost}))
    wait_for("it is healed", web.is_healed)
    assert web.node.raw(web.port, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n") == b""


def test_a_removal_that_never_came(web):
    web.serve()
    del web.node.resources[web.named(ResourceType.LISTENER)]
    lost = web.lose(ResourceType.LISTENER)
    assert web.node.ask(web.port).status == 200
    assert web.first() == Drift(keeps=frozenset({lost}))
    wait_for("it is gone", lambda: not web.node.answers(WAYPOINT, web.port))


def test_a_service_without_endpoints_is_no_drift(web):
    web.serve()
    web.routes_to()
    web.node.publish()
    wait_for("nobody is there", lambda: web.node.ask(web.port).status == 503)
    assert web.node.ads.audit() == Drift()


def test_nothing_is_found_while_much_changes(web):
    """What is on its way is no drift."""
    web.serve()
    for number in range(40):
        web.routes_to(PORTS[("v1", "v2")[number % 2]])
        web.has([rule(any_path(), to(web.backend, V1)[: 1 + number % 2])])
        web.node.publish()
        assert web.node.ads.audit() == Drift()
    assert web.node.ask(web.port).status == 200
