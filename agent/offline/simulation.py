"""`weft simulate` as one document: which way a pod's request goes, and what becomes of it there."""

from collections.abc import Iterator
from typing import Any

from agent.model.core import Service
from agent.model.routes import TCPRoute, UDPRoute
from agent.offline.manifests import Manifests
from agent.offline.mesh import Mesh, has_assumed_address, translated
from agent.offline.question import Question, QuestionError
from agent.offline.wording import behaviour, compact, origin
from agent.plan.plan import FrontendName, FrontendPlan, PodPlan
from agent.plan.services import service_key, service_name
from agent.plan.tables import Slot, address_text, host_port
from agent.simulate.answer import Answer, Share, answer
from agent.simulate.decision import Decision, Path, applying, decide, enrolment, rules_of
from agent.simulate.names import Host, resolve
from agent.simulate.passthrough import rule_for
from agent.translate.endpoints import endpoints_of_either_family
from agent.translate.ir import BackendPort, RouteSet, Rule, TLSRouteSet
from agent.translate.options import Options
from agent.translate.slots import shares
from agent.world import View

Document = dict[str, Any]
NO_ENDPOINT = 503


def simulate(manifests: Manifests, asked: Question, options: Options) -> Document:
    """The answer. Raises `QuestionError` when the pod has ended."""
    mesh = translated(manifests, options, [asked.pod])
    pod = mesh.pods.get(asked.pod)
    if pod is None:
        raise QuestionError(f"{asked.pod} has ended")
    view = mesh.view()
    host = resolve(view, asked.host, pod.namespace)
    decision = Decision(Path.NONE, host.reason)
    if host.address:
        decision = decide(view, mesh.frontends, pod, FrontendName(host.address, asked.port, asked.protocol))
    document: Document = {
        "client": _client(view, pod),
        "destination": _destination(asked, host),
        "path": decision.path.value,
        "why": decision.why,
        "routes": [str(key) for key in decision.routes],
        **_treatment(view, decision, asked, options),
    }
    document["notes"] = [*_assumptions(manifests, mesh, asked, host, document), *_warnings(mesh, asked, host, document)]
    return document


def _treatment(view: View, decision: Decision, asked: Question, options: Options) -> Document:
    """What the kernel or the waypoint does; nothing for what is not intercepted."""
    name, plan = decision.name, decision.plan
    if name is None or plan is None:
        return {}
    rules = rules_of(view, name, plan)
    if rules is not None and decision.path is Path.WAYPOINT:
        found = (
            _waypoint(view, rules, answer(rules, asked.request), asked, options)
            if isinstance(rules, RouteSet)
            else _passed_through(view, rules, asked, options)
        )
        return {"waypoint": found, "onWaypointLoss": plan.on_loss.value}
    affinity = {"affinitySeconds": plan.affinity_seconds} if plan.affinity_seconds else {}
    return {"services": list(_services(view, name, plan)), "backends": backends(plan.slots), **affinity}


def _services(view: View, name: FrontendName, plan: FrontendPlan) -> Iterator[Document]:
    """The Services that the kernel divides connections between: a TCPRoute's or UDPRoute's, else the one dialled."""
    route = next((item for item in applying(view, plan.service, name) if isinstance(item, TCPRoute | UDPRoute)), None)
    if route is None:
        yield {"service": f"{service_name(plan.service)}:{name.port}", "share": 1.0}
        return
    refs = route.spec.rules[0].backend_refs
    total = sum(ref.weight for ref in refs)
    for ref in refs:
        if ref.weight:
            where = f"{ref.namespace or route.metadata.namespace}/{ref.name}:{ref.port}"
            yield {"service": where, "share": ref.weight / total}


def _client(view: View, pod: PodPlan) -> Document:
    return {"pod": f"{pod.namespace}/{pod.pod.name}", "mode": pod.mode.label, "why": enrolment(view, pod)}


def _destination(asked: Question, host: Host) -> Document:
    return {
        "service": service_name(host.service) if host.service else None,
        "address": host.address or None,
        "port": asked.port,
        "protocol": asked.protocol.name,
    }


def backends(slots: tuple[Slot, ...]) -> list[Document]:
    """An alias table as shares of connections; `refused` where nobody would answer."""
    if not slots:
        return [{"backend": "refused", "share": 1.0}]
    found = {
        "refused" if where is None else host_port(address_text(where[0]), where[1]): float(share)
        for where, share in shares(slots).items()
    }
    return [{"backend": name, "share": share} for name, share in sorted(found.items())]


def _clients(rules: RouteSet | TLSRouteSet) -> str:
    return f"namespace {rules.consumer}" if rules.consumer else "everybody"


def _waypoint(view: View, rules: RouteSet, found: Answer, asked: Question, options: Options) -> Document:
    return {
        "routeSet": rules.name,
        "clients": _clients(rules),
        "rule": _rule(found.rule, rules) if found.rule else None,
        "status": found.status,
        "location": found.location or None,
        "originAllowed": found.allowed,
        "request": {"method": asked.request.method, "authority": found.authority, "target": found.target}
        if found.shares
        else None,
        "shares": [_share(view, item, options) for item in found.shares],
        "responseHeaders": [compact(item) for item in found.response],
    }


def _passed_through(view: View, rules: TLSRouteSet, asked: Question, options: Options) -> Document:
    """Where bytes go, by the server name that a TLS client says; what is not TLS is closed."""
    name = asked.server_name
    rule = rule_for(rules, name) if asked.scheme == "https" else None
    total = sum(item.weight for item in rule.backends) if rule else 0
    shares = [(item.weight / total, item.backend) for item in rule.backends] if rule else []
    return {
        "routeSet": rules.name,
        "clients": _clients(rules),
        "serverName": name,
        "rule": {"route": str(origin(rule).route), "rule": origin(rule).rule, "serverNames": list(rule.server_names)}
        if rule
        else None,
        "shares": [
            {
                "share": part,
                "backend": backend.cluster if backend else "invalid",
                "endpoints": _endpoints(view, backend, options) if backend else [],
            }
            for part, backend in shares
        ],
    }


def _rule(rule: Rule, rules: RouteSet) -> Document:
    found = origin(rule, rules.grpc)
    timeouts = {"requestMs": rule.request_timeout, "backendRequestMs": rule.backend_timeout}
    return {
        "route": str(found.route),
        "rule": found.rule,
        "matchIndex": found.match,
        "match": compact(rule.match),
        "filters": [compact(item) for item in rule.filters],
        "timeouts": {key: value for key, value in timeouts.items() if value is not None},
        **behaviour(rule),
    }


def _share(view: View, share: Share, options: Options) -> Document:
    addresses = _endpoints(view, share.backend, options) if share.backend else []
    status = share.status if share.backend is None or addresses else NO_ENDPOINT
    return {
        "share": float(share.part),
        "backend": share.backend.cluster if share.backend else "invalid",
        "endpoints": addresses,
        "status": status,
        "headers": [f"{name}: {value}" for name, value in share.headers],
        "responseHeaders": [compact(item) for item in share.response],
    }


def _endpoints(view: View, backend: BackendPort, options: Options) -> list[str]:
    service = view.service(backend.key)
    if service is None:
        return []
    ports = (port for port in service.spec.ports if (port.port, port.protocol) == (backend.port, "TCP"))
    return [host_port(*item) for port in ports for item in endpoints_of_either_family(view, service, port, options)]


def _assumptions(manifests: Manifests, mesh: Mesh, asked: Question, host: Host, document: Document) -> Iterator[str]:
    """What the manifests do not say, and what was taken to be so."""
    if asked.pod not in manifests.objects:
        yield f"{asked.pod} is not in the manifests: one without labels is assumed"
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


def _warnings(mesh: Mesh, asked: Question, host: Host, document: Document) -> Iterator[str]:
    """What would go wrong on the way, and what the agent would tell of the pod and the Service."""
    reads_tls = "serverName" in document.get("waypoint", {})
    if reads_tls and asked.scheme != "https":
        yield "the waypoint looks for TLS on this port: what is not TLS is closed"
    elif "waypoint" in document and asked.scheme == "https" and not reads_tls:
        yield "the waypoint reads clear text on this port: a TLS handshake fails"
    elif "waypoint" in document and asked.scheme == "tcp":
        yield "the waypoint reads HTTP on this port: what is not HTTP is answered with 400"
    subjects = tuple(f"{key}: " for key in (asked.pod, host.service) if key)
    yield from sorted({text for item in mesh.fragments for text in item.notices if text.startswith(subjects)})
