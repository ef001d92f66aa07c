"""What backendRefs refer to. A mesh needs no ReferenceGrant for them (GEP-1294): they widen nobody's reach."""

from dataclasses import dataclass

from agent.model.core import Service, ServicePort
from agent.model.routes import BackendRef
from agent.world import SERVICE_GROUPS, View


@dataclass(frozen=True, slots=True)
class Resolved:
    """A backendRef that was looked up: the Service's port, or the reason and message of why there is none."""

    service: Service | None = None
    port: ServicePort | None = None
    reason: str = ""
    message: str = ""


def resolve(view: View, namespace: str, ref: BackendRef, field: str) -> Resolved:
    """Look a backendRef up; `namespace` is the Route's, `field` its JSON path for messages."""
    if ref.group not in SERVICE_GROUPS or ref.kind != "Service":
        return Resolved(reason="InvalidKind", message=f"{field}: {ref.group or 'core'}/{ref.kind} is not a Service")
    where = ref.namespace or namespace
    name = f"Service {where}/{ref.name}"
    service = view.get(Service, where, ref.name)
    if service is None:
        return Resolved(reason="BackendNotFound", message=f"{field}: {name} is not there")
    if service.spec.type == "ExternalName":
        return Resolved(reason="BackendNotFound", message=f"{field}: {name} is an ExternalName, it has no endpoints")
    if ref.port is None:
        return Resolved(reason="BackendNotFound", message=f"{field}.port: is required for a Service")
    port = next((port for port in service.spec.ports if port.port == ref.port), None)
    if port is None:
        return Resolved(reason="BackendNotFound", message=f"{field}.port: {name} has no port {ref.port}")
    return Resolved(service, port)
