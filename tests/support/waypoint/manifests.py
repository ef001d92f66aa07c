"""A real Envoy that serves what manifests are translated to, without an agent."""

from agent.ir.plan import Condition
from agent.ir.resources import ResourceName, ResourceType
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Problem, Upsert
from agent.model.facts import PodCgroup
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.xds.render import render
from agent.waypoint.xds.runtime import LAYER, runtime
from support.waypoint.fixtures import WaypointNode
from support.waypoint.listeners import CLIENT, SERVERS

NODE = f"""
{{apiVersion: v1, kind: Namespace, metadata: {{name: app, labels: {{weft.dev/mode: l7, weft.dev/access-log: 'true'}}}}}}
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
        """Apply manifests."""
        for document in split(text, is_json=False):
            for found in decode(document.value, "test"):
                assert not isinstance(found, Problem), str(found)
                self.translator.update([Upsert(found)])

    def route(self, spec: str, kind: str = "HTTPRoute", port: int = 80) -> int:
        """Apply the Route and wait until Envoy serves it. Returns the listener's port."""
        self.apply(ROUTE.format(kind=kind, port=port, spec=spec))
        outputs = self.translator.outputs.values()
        made = [render(item, Options()) for item in outputs]
        self.node.resources = {name: value for item in made for name, value in item.resources.items()}
        layer = runtime(frozenset().union(*(item.logged for item in made)))
        self.node.resources[ResourceName(ResourceType.RUNTIME, LAYER)] = layer
        listeners = [name.name for name in self.node.resources if name.kind is ResourceType.LISTENER]
        for number, name in enumerate(sorted(listeners)):
            self.node.ports.setdefault(name, 28000 + number + port)
        return self.node.serving(f"app/web:{port}")

    def conditions(self, kind: str = "HTTPRoute") -> dict[str, Condition]:
        """The conditions of the Route."""
        (parents,) = [
            found
            for item in self.translator.outputs.values()
            for key, found in item.statuses.items()
            if key.kind == kind
        ]
        return {item.type: item for item in parents[0].conditions}
