"""`weft simulate` as one document: which way a pod's request goes, and what becomes of it there."""

from collections.abc import Iterator
from typing import Any

from agent.explain.decision import Decision, TrafficPath, decide
from agent.explain.dns import Host, resolve
from agent.explain.evaluate import evaluate
from agent.explain.manifest_mesh import Mesh, has_assumed_address, translated
from agent.explain.manifests import Manifests
from agent.explain.query import QueryError, TrafficQuery
from agent.explain.render import backends
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.services import service_key, service_name
from agent.model.core import Service
from agent.model.routes import TCPRoute, UDPRoute
from agent.store.store import TrackedView
from agent.translate.options import Options

Document = dict[str, Any]
REFUSED_SHARE = {"backend": "refused", "share": 1.0}


def simulate(manifests: Manifests, query: TrafficQuery, options: Options) -> Document:
    """The answer. Raises `QueryError` when the pod has ended."""
    mesh = translated(manifests, options, [query.pod])
    pod = mesh.pods.get(query.pod)
    if pod is None:
        raise QueryError(f"{query.pod} has ended")
    view = mesh.view()
    host = resolve(view, query.host, pod.namespace)
    decision = Decision(TrafficPath.NONE, host.reason)
    if host.address:
        decision = decide(mesh.frontends, pod, FrontendName(host.address, query.port, query.protocol))
    document: Document = {
        "client": _client(pod),
        "destination": _destination(query, host),
        "path": decision.path.value,
        "reason": decision.reason,
        "routes": [str(key) for key in decision.plan.routes] if decision.plan else [],
        **_evaluate(mesh, decision, query),
    }
    document["notes"] = [*_assumptions(manifests, mesh, query, host, document), *_warnings(mesh, query, host, document)]
    return document


def _evaluate(mesh: Mesh, decision: Decision, query: TrafficQuery) -> Document:
    """What the kernel or the waypoint does; empty for a connection that is not intercepted."""
    name, plan = decision.name, decision.plan
    if name is None or plan is None:
        return {}
    if plan.listener is not None and decision.path is TrafficPath.WAYPOINT:
        output = mesh.of_listener(plan)
        found = evaluate(output.listeners[plan.listener], output, mesh.pods[query.pod].known_identity, query)
        return {"waypoint": found, "onWaypointLoss": plan.on_loss.value}
    affinity = {"affinitySeconds": plan.affinity_seconds} if plan.affinity_seconds else {}
    return {
        "services": list(_services(mesh.view(), name, plan)),
        "backends": backends(plan.slots) or [REFUSED_SHARE],
        **affinity,
    }


def _services(view: TrackedView, name: FrontendName, plan: FrontendPlan) -> Iterator[Document]:
    """The Services among which the kernel splits connections: those of a TCPRoute or UDPRoute, else the one dialled."""
    route = view.route(plan.routes[0]) if plan.routes else None
    if not isinstance(route, TCPRoute | UDPRoute):
        yield {"service": f"{service_name(plan.service)}:{name.port}", "share": 1.0}
        return
    refs = route.spec.rules[0].backend_refs
    total = sum(ref.weight for ref in refs)
    for ref in refs:
        if ref.weight:
            where = f"{ref.namespace or route.metadata.namespace}/{ref.name}:{ref.port}"
            yield {"service": where, "share": ref.weight / total}


def _client(pod: PodPlan) -> Document:
    return {"pod": f"{pod.namespace}/{pod.pod.name}", "mode": pod.mode.label, "modeReason": pod.mode_reason}


def _destination(query: TrafficQuery, host: Host) -> Document:
    return {
        "service": service_name(host.service) if host.service else None,
        "address": host.address or None,
        "port": query.port,
        "protocol": query.protocol.name,
    }


def _assumptions(
    manifests: Manifests, mesh: Mesh, query: TrafficQuery, host: Host, document: Document
) -> Iterator[str]:
    """Assumptions about what the manifests do not have."""
    if query.pod not in manifests.objects:
        yield f"{query.pod} is not in the manifests: one without labels is assumed"
    service = manifests.objects.get(host.service) if host.service else None
    if isinstance(service, Service) and has_assumed_address(service):
        yield f"{service.key} has no cluster IP yet: {host.address} is assumed"
    if manifests.problems:
        yield f"{len(manifests.problems)} objects or documents cannot be used: see weft lint"
    view = mesh.view()
    asked_for = [item["service"] for item in document.get("services", ())]
    asked_for += [item["backend"] for item in document.get("waypoint", {}).get("shares", ())]
    for key in dict.fromkeys(service_key(item.partition(":")[0]) for item in asked_for):
        if view.service(key) is not None and not view.slices(key):
            yield f"{key} has no EndpointSlice in the manifests: nothing is behind it here"


def _warnings(mesh: Mesh, query: TrafficQuery, host: Host, document: Document) -> Iterator[str]:
    """The warning about the client's protocol, and the agent's warnings about the pod and the Service."""
    if warning := document.get("waypoint", {}).get("warning"):
        yield warning
    subjects = tuple(f"{key}: " for key in (query.pod, host.service) if key)
    yield from sorted({text for item in mesh.outputs for text in item.warnings if text.startswith(subjects)})
