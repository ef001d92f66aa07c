"""Random sets of Routes: the rule that decides by the API's words, by the simulation and by the real Envoy is one.

Two hundred sets by default; WEFT_TEST_SCALE=1 (`make test-long`) makes it two thousand.
"""

import os
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from hypothesis import HealthCheck, given, settings

from agent.explain.answer import Answer, answer
from agent.ir.http import HTTPListenerIR
from agent.ir.plan import FrontendName
from agent.ir.request import Request
from agent.ir.tables import Protocol
from agent.model.change import Delete, Upsert
from agent.model.core import Namespace, Pod, PodIP, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.model.routes import GRPCMethodMatch, GRPCRoute, GRPCRouteMatch, HTTPPathMatch, HTTPRouteMatch
from agent.store.mode import MODE_LABEL
from agent.store.store import Store
from agent.translate.filters.header_modifiers import changed
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.xds.render import render
from support.waypoint.client import exchange
from support.waypoint.fixtures import CLIENT, WAYPOINT, WaypointNode, wait_for, waypoint_node
from support.waypoint.random_routes import SHOWN, AnyRoute, Case, cases, contest, decided_by, grpc_route, http_route

pytestmark = pytest.mark.node
SETS = int(2000 * float(os.environ.get("WEFT_TEST_SCALE", "0.1")))
NUMBER = 20000
FRONTEND = FrontendName("10.96.0.1", 80, Protocol.TCP)
Outcome = tuple[int, str]


class Port:
    """One Service port, served by a real Envoy, on which one set of Routes follows the other."""

    def __init__(self, node: WaypointNode) -> None:
        self.node = node
        self._store = Store()
        self._translator = Translator(self._store, Options("here"))
        spec = ServiceSpec(cluster_ips=(FRONTEND.address,), ports=(ServicePort(80, "http"),))
        client = Pod(
            ObjectMeta("client", "app", "uid"), PodSpec("here"), PodStatus("Running", pod_ips=(PodIP(CLIENT),))
        )
        namespace = Namespace(ObjectMeta("app", labels={MODE_LABEL: "l7"}))
        objects = (namespace, client, PodCgroup("uid", 900), Service(ObjectMeta("web", "app"), spec))
        self._translator.update([Upsert(item) for item in objects])
        self._routes: tuple[AnyRoute, ...] = ()
        self.decisions, self.outcomes, self.sets = Counter[str](), set[Outcome](), 0
        node.ports["app/web:80"] = NUMBER

    def serve(self, routes: tuple[AnyRoute, ...]) -> None:
        """Replace the Routes and wait until Envoy's worker has them: one more says which set it is."""
        self.sets += 1
        mark = f"set{self.sets}"
        old, self._routes = self._routes, (*routes, _marking(mark, routes[0]))
        self._translator.update([*(Delete(route.key) for route in old), *map(Upsert, self._routes)])
        outputs = self._translator.outputs.values()
        made = [render(item, Options()) for item in outputs]
        self.node.resources = {name: value for item in made for name, value in item.resources.items()}
        self.node.publish()
        wait_for(mark, lambda: self.node.answers(WAYPOINT, NUMBER) and self._shows(mark))

    def _shows(self, mark: str) -> bool:
        return self.node.ask(NUMBER, f"/marking/{mark}").values(SHOWN) == [f"{mark}/0"]

    def simulated(self, made: Request) -> Answer:
        """By the listener IR that Envoy's configuration is rendered from."""
        found = next(item for item in self._translator.outputs.values() if FRONTEND in item.frontends)
        rules = found.listeners[found.frontends[FRONTEND].listener or ""]
        assert isinstance(rules, HTTPListenerIR)
        return answer(rules, made)


def _marking(mark: str, like: AnyRoute) -> AnyRoute:
    """A Route of the same kind for a path that nobody else means better."""
    meta = ObjectMeta(mark, "app")
    if isinstance(like, GRPCRoute):
        return grpc_route(meta, [(GRPCRouteMatch(GRPCMethodMatch("Exact", "marking", mark)),)])
    return http_route(meta, [(HTTPRouteMatch(HTTPPathMatch("Exact", f"/marking/{mark}")),)])


@pytest.fixture(scope="module")
def port() -> Iterator[Port]:
    with waypoint_node() as node:
        yield Port(node)


def predicted(found: Answer) -> Outcome:
    """What a client sees of a simulated answer."""
    assert found.status is not None
    return found.status, dict(changed((), found.response)).get(SHOWN, "")


def observed(connection: HTTPConnection, made: Request) -> Outcome:
    """What a client sees of Envoy's."""
    headers = [item for item in made.headers if item[0] != "x-forwarded-proto"]
    found = exchange(connection, made.target, method=made.method, host=made.authority, headers=headers)
    return found.status, "".join(found.values(SHOWN))


@settings(max_examples=SETS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases())
def decide_alike(port: Port, case: Case) -> None:
    """One set of Routes, and its requests on one connection."""
    port.serve(case.routes)
    with port.node.connection(NUMBER) as connection:
        found = {made: observed(connection, made) for made in case.requests}
    ranked = {made: contest(case, made) for made in case.requests}
    refusal = 503 if isinstance(case.routes[0], GRPCRoute) else 500
    assert found == {made: (refusal, names[0][1]) if names else (404, "") for made, names in ranked.items()}
    assert found == {made: predicted(port.simulated(made)) for made in case.requests}
    port.decisions.update(decided_by(names) for names in ranked.values())
    port.outcomes.update(found.values())


@pytest.mark.feature(
    "HTTPRoute: match*",
    "GRPCRoute: match*",
    "Several Routes: precedence of matches",
    "Several Routes: are merged",
    "Several Routes: ties*",
)
def test_the_api_the_simulation_and_envoy_decide_alike(port: Port) -> None:
    decide_alike(port)
    deciding = ", ".join(f"{name} {count}" for name, count in port.decisions.most_common())
    print(f"{port.sets} listener IRs, {port.decisions.total()} requests, {len(port.outcomes)} outcomes")
    print(f"decided by: {deciding}")
    assert port.sets >= SETS
    # Requests that only one match is for show nothing of precedence.
    contested = port.decisions.total() - port.decisions["no rival"] - port.decisions["no match"]
    assert contested > SETS
