"""What a host in a URL means to a pod, as the cluster's DNS answers it."""

import ipaddress
from dataclasses import dataclass

from agent.model.meta import Key
from agent.store.store import TrackedView

DOMAIN = ("svc", "cluster", "local")
CLUSTER_SET = ("svc", "clusterset", "local")


@dataclass(frozen=True, slots=True)
class Host:
    """The first address of a host; empty, with the reason, where it has none that weft serves."""

    address: str = ""
    service: Key | None = None
    reason: str = ""


def resolve(view: TrackedView, host: str, namespace: str) -> Host:
    """Look a host up for a client in `namespace`: an address, or a Service's name in any of its forms."""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _service(view, host, namespace)
    owner = view.service_at(address)
    return Host(address, owner.key if owner else None)


def _service(view: TrackedView, host: str, namespace: str) -> Host:
    """`name`, `name.namespace`, `name.namespace.svc`, the same with the cluster's domain or the cluster set's."""
    name, *rest = host.lower().rstrip(".").split(".")
    space, domain = (rest[0], tuple(rest[1:])) if rest else (namespace, ())
    service = view.service(Key("ServiceImport" if domain == CLUSTER_SET else "Service", space, name))
    if service is None or domain not in ((), DOMAIN[:1], DOMAIN, CLUSTER_SET):
        return Host(reason=f"the manifests have no Service {host}")
    if not service.cluster_ips:
        return Host(service=service.key, reason=f"{service.key} {service.without_frontend}: weft ignores it")
    return Host(service.cluster_ips[0], service.key)
