"""From manifests to answers: what is translated is what Envoy does, without a kernel in between."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from waypoint_client import Answer
from waypoint_fixtures import CLIENT, SERVERS, WaypointNode, wait_for, waypoint_node
from waypoint_recorder import Recorder, recorder
from waypoint_tls import CLOSED, TLSNode

from agent.ir.plan import Condition
from agent.ir.resources import ResourceType
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Problem, Upsert
from agent.model.facts import PodCgroup
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.xds.render import render

pytestmark = pytest.mark.node
NODE = f"""
{{apiVersion: v1, kind: Namespace, metadata: {{name: app, labels: {{weft.dev/mode: l7}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: app, uid: client}}
spec: {{nodeName: here}}
status: {{phase: Running, podIPs: [{{ip: {CLIENT}}}]}}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: app}}
spec: {{clusterIP: 10.96.0.{number}, ports: [{{name: http, port: 80}}, {{name: https, port: 443}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: app, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}, {{name: https, port: {port}}}]
endpoints: [{{addresses: [{address}]}}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: r, namespace: app}}
spec:
  parentRefs: [{{group: '', kind: Service, name: web, port: {port}}}]
  {spec}
"""


@pytest.fixture(scope="module")
def node() -> Iterator[WaypointNode]:
    with waypoint_node() as made:
        yield made


@pytest.fixture(scope="module")
def server(node) -> Iterator[Recorder]:
    with recorder(node, "recorder") as made:
        yield made


class Cluster:
    """Services `web` (of nobody), `v1`, `v2` and `recorder`, and one Route at a time."""

    def __init__(self, node: WaypointNode) -> None:
        self.node = node
        self.translator = Translator(Store(), Options("here"))
        names = ["web", *node.servers]
        ports = {**{name: found[0] for name, found in node.servers.items()}, "web": 1}
        services = [
            SERVICE.format(name=name, number=number, port=ports[name], address=SERVERS)
            for number, name in enumerate(names, 1)
        ]
        self.apply("---".join([NODE, *services]))
        self.translator.update([Upsert(PodCgroup("client", 900))])

    def apply(self, text: str) -> None:
        """Take manifests in."""
        for document in split(text, is_json=False):
            for found in decode(document.value, "test"):
                assert not isinstance(found, Problem), str(found)
                self.translator.update([Upsert(found)])

    def route(self, spec: str, kind: str = "HTTPRoute", port: int = 80) -> int:
        """Apply the Route and wait until Envoy serves it. Returns the listener's port."""
        self.apply(ROUTE.format(kind=kind, port=port, spec=spec))
        fragments = self.translator.fragments.values()
        made = [render(item, Options()) for item in fragments]
        self.node.resources = {name: value for item in made for name, value in item.resources.items()}
        listeners = [name.name for name in self.node.resources if name.kind is ResourceType.LISTENER]
        for number, name in enumerate(sorted(listeners)):
            self.node.ports.setdefault(name, 28000 + number + port)
        return self.node.serving(f"app/web:{port}")

    def conditions(self, kind: str = "HTTPRoute") -> dict[str, Condition]:
        """What the Route is told."""
        (parents,) = [
            found
            for item in self.translator.fragments.values()
            for key, found in item.statuses.items()
            if key.kind == kind
        ]
        return {item.type: item for item in parents[0].conditions}


@pytest.fixture
def cluster(node, server) -> Cluster:
    server.requests.clear()
    return Cluster(node)


def test_mirrors_and_one_that_is_not_there(cluster, server):
    mirror = "{{type: RequestMirror, requestMirror: {{backendRef: {{name: {}, port: 80}}}}}}"
    port = cluster.route(
        f"rules: [{{filters: [{mirror.format('recorder')}, {mirror.format('gone')}], "
        "backendRefs: [{name: v1, port: 80}]}]"
    )
    assert cluster.node.pods(port, 10) == ["v1"] * 10
    wait_for("every copy", lambda: len(server.requests) == 10)
    told = cluster.conditions()
    assert told["Accepted"].status
    assert (told["ResolvedRefs"].status, told["ResolvedRefs"].reason) == (False, "BackendNotFound")


def test_retries(cluster, server):
    server.script = [503, 503]
    port = cluster.route(
        "rules: [{retry: {codes: [503], attempts: 2, backoff: 1ms}, backendRefs: [{name: recorder, port: 80}]}]"
    )
    assert (cluster.node.ask(port).status, len(server.requests)) == (200, 3)


def test_cors(cluster, server):
    port = cluster.route(
        "rules: [{matches: [{method: PUT}], filters: [{type: CORS, cors: {allowOrigins: ['https://*.foo.com'], "
        "allowMethods: [PUT]}}], backendRefs: [{name: recorder, port: 80}]}]"
    )
    asked = [("Origin", "https://a.foo.com"), ("Access-Control-Request-Method", "PUT")]
    answer = cluster.node.ask(port, method="OPTIONS", headers=asked)
    found = [answer.values(f"access-control-{name}") for name in ("allow-origin", "allow-methods", "max-age")]
    assert (answer.status, found, server.requests) == (200, [["https://a.foo.com"], ["PUT"], ["5"]], [])


def test_sessions_over_two_backends_outlive_a_weight_of_0(cluster):
    rules = (
        "rules: [{{name: one, sessionPersistence: {{sessionName: seat}}, backendRefs: "
        "[{{name: v1, port: 80, weight: {}}}, {{name: v2, port: 80}}]}}]"
    )
    port = cluster.route(rules.format(1))
    ask = partial(cluster.node.ask, port)
    first: Answer = next(answer for _ in range(60) if (answer := ask()).pod == "v1")
    known = [("Cookie", first.values("set-cookie")[0].partition(";")[0])]
    cluster.route(rules.format(0))
    assert {ask(headers=known).pod for _ in range(20)} == {"v1"}
    assert {ask().pod for _ in range(20)} == {"v2"}


def test_server_names(node):
    tls = TLSNode.of(node)
    with ExitStack() as stack:
        for name in ("secure", "other"):
            stack.enter_context(tls.server(name))
        cluster = Cluster(node)
        port = cluster.route(
            "hostnames: [a.example, '*.b.example']\n"
            "  rules: [{backendRefs: [{name: secure, port: 443}, {name: other, port: 443, weight: 0}]}]",
            "TLSRoute",
            443,
        )
        assert [tls.ask(port, name) for name in ("a.example", "x.b.example", "b.example")] == [
            "secure a.example",
            "secure x.b.example",
            CLOSED,
        ]
    assert cluster.conditions("TLSRoute")["Accepted"].status
