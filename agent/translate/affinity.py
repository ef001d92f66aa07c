"""`sessionAffinity: ClientIP`: what the kernel does for it, and what of it the waypoint cannot do."""

from collections.abc import Iterator

from agent.ir.http import ListenerIR
from agent.ir.services import service_name
from agent.model.core import ClientIPConfig
from agent.model.multicluster import AnyService

SECONDS = ClientIPConfig().timeout_seconds


def affinity_seconds(service: AnyService) -> int:
    """How long the kernel sends a client to the same backend, by the Service that the client dials, with or without
    Routes. 0: no affinity.
    """
    return service.spec.session_affinity_config.client_ip.timeout_seconds if service.has_client_ip_affinity else 0


def affinity_warnings(service: AnyService, rules: ListenerIR) -> Iterator[str]:
    """How affinity differs at the waypoint: each backend has the setting of its own Service there, and no timeout."""
    if not service.has_client_ip_affinity:
        return
    backends = {item.backend for rule in rules.rules for item in rule.backends if item.backend is not None}
    others = sorted({service_name(item.key) for item in backends if not item.client_ip_affinity})
    if others:
        yield (
            f"{service.key}: spec.sessionAffinity: the waypoint does not apply ClientIP to {', '.join(others)}:"
            " it uses the setting of each backend"
        )
    seconds = affinity_seconds(service)
    if seconds != SECONDS and len(backends) > len(others):
        yield (
            f"{service.key}: spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is not used at the waypoint:"
            " a client stays with its endpoint"
        )
