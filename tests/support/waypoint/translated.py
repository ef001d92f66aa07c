"""Listener IRs of Routes, as the agent translates them. Unsupported parts of a Route are not in them."""

from agent.ir.http import HTTPListenerIR
from agent.model.change import Upsert
from agent.model.core import Service, ServicePort, ServiceSpec
from agent.model.meta import Key, ObjectMeta
from agent.model.routes import GRPCRoute, HTTPRoute, ParentReference
from agent.store.store import Store, TrackedView
from agent.translate.routes.binding import bindings, effective_bindings
from agent.translate.routes.http import http_listener_ir

PORT = ServicePort(80, "http")
PARENT = ParentReference("web", group="", kind="Service", port=80)


def translated(*routes: HTTPRoute | GRPCRoute, services: tuple[str, ...] = ()) -> HTTPListenerIR:
    """The listener IR of port 80 of `app/web` for clients of its namespace; `services` are other backends there."""
    store = Store()
    for number, name in enumerate(("web", *services), 1):
        spec = ServiceSpec(cluster_ips=(f"10.96.0.{number}",), ports=(PORT,))
        store.apply([Upsert(Service(ObjectMeta(name, "app"), spec))])
    store.apply(map(Upsert, routes))
    view = TrackedView(store)
    applying = effective_bindings(bindings(view, Key("Service", "app", "web"), "app"), PORT)
    return http_listener_ir(view, "app/web:80", "", PORT, applying)
