"""A small mesh to translate: one Service with two endpoints, and pods of this node."""

from agent.model.change import Change, Upsert
from agent.model.core import Namespace, Pod, PodIP, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from agent.model.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.model.routes import (
    FilteredBackendRef,
    GRPCRoute,
    GRPCRouteRule,
    GRPCRouteSpec,
    HTTPRoute,
    HTTPRouteRule,
    HTTPRouteSpec,
    ParentReference,
    TCPRoute,
)
from agent.store.mode import MODE_LABEL
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator
from agent.translate.options import Options

PARENT = (ParentReference("web", "", "Service"),)


def namespace(name: str, mode: str) -> Namespace:
    return Namespace(ObjectMeta(name, labels={MODE_LABEL: mode}))


def pod(name: str, address: str, space: str = "app") -> Pod:
    return Pod(ObjectMeta(name, space, f"uid-{name}"), PodSpec("here"), PodStatus("Running", pod_ips=(PodIP(address),)))


def service(name: str, address: str, *ports: ServicePort) -> Service:
    return Service(
        ObjectMeta(name, "app"), ServiceSpec(cluster_ips=(address,), ports=ports or (ServicePort(80, "http"),))
    )


def endpoint(address: str, ready: bool | None = None, ending: bool | None = None) -> Endpoint:
    return Endpoint((address,), EndpointConditions(ready, None, ending))


def slice_of(name: str, *endpoints: Endpoint, port: EndpointPort | None = None, kind: str = "IPv4") -> EndpointSlice:
    labels = {"kubernetes.io/service-name": name}
    meta = ObjectMeta(f"{name}-{kind.lower()}", "app", labels=labels)
    return EndpointSlice(meta, kind, endpoints, (port or EndpointPort("http", 8080),))


def http_route(*rules: HTTPRouteRule, backend: str = "web") -> HTTPRoute:
    plain = HTTPRouteRule(backend_refs=(FilteredBackendRef(backend, port=80),))
    return HTTPRoute(ObjectMeta("r", "app", generation=1), HTTPRouteSpec(PARENT, rules=rules or (plain,)))


def grpc_route(*rules: GRPCRouteRule) -> GRPCRoute:
    return GRPCRoute(ObjectMeta("g", "app", generation=1), GRPCRouteSpec(PARENT, (), rules))


def mesh() -> list[Change]:
    """The Service `web`, one pod in mode l7 and nothing else."""
    return [
        Upsert(namespace("app", "l7")),
        Upsert(pod("client", "10.1.0.9")),
        Upsert(PodCgroup("uid-client", 900)),
        Upsert(service("web", "10.96.0.1")),
        Upsert(slice_of("web", endpoint("10.1.0.1"), endpoint("10.1.0.2"))),
    ]


def translator(*more: HTTPRoute | TCPRoute, options: Options | None = None) -> Translator:
    made = Translator(Store(), options or Options("here"))
    made.update([*mesh(), *(Upsert(value) for value in more)])
    return made


def view_of(*values: object) -> TrackedView:
    store = Store()
    store.apply([Upsert(value) for value in values])  # type: ignore[arg-type]
    return TrackedView(store)
