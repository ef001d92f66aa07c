"""`sessionAffinity: ClientIP`: what the kernel does for it, and what of it the waypoint cannot do."""

from collections.abc import Iterator

from agent.ir.http import RouteSet, TLSRouteSet
from agent.ir.services import service_name
from agent.model.core import ClientIPConfig
from agent.model.multicluster import AnyService

SECONDS = ClientIPConfig().timeout_seconds


def affinity_seconds(service: AnyService) -> int:
    """How long a client keeps a backend in the kernel: a setting of the Service that is dialled, whatever Routes make
    of it. 0: it does not.
    """
    return service.spec.session_affinity_config.client_ip.timeout_seconds if service.keeps_clients else 0


def affinity_warnings(service: AnyService, rules: RouteSet | TLSRouteSet) -> Iterator[str]:
    """How a port of the Service differs at the waypoint, where each backend's own Service says whether it keeps
    clients, and where that has no end.
    """
    if not service.keeps_clients:
        return
    backends = {item.backend for rule in rules.rules for item in rule.backends if item.backend is not None}
    others = sorted({service_name(item.key) for item in backends if not item.sticky})
    if others:
        yield (
            f"{service.key}: spec.sessionAffinity: ClientIP is not kept at the waypoint for {', '.join(others)}:"
            " there it is each backend's own setting"
        )
    seconds = affinity_seconds(service)
    if seconds != SECONDS and len(backends) > len(others):
        yield (
            f"{service.key}: spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is not used at the waypoint:"
            " a client stays with its endpoint"
        )
