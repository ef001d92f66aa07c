"""What a host in a URL means to a pod, as the cluster's DNS answers it."""

import ipaddress
from dataclasses import dataclass

from agent.model.core import Service
from agent.model.meta import Key
from agent.world import View

DOMAIN = ("svc", "cluster", "local")


@dataclass(frozen=True, slots=True)
class Host:
    """The first address of a host; empty, with the reason, where there is none that weft would see."""

    address: str = ""
    service: Key | None = None
    reason: str = ""


def resolve(view: View, host: str, namespace: str) -> Host:
    """Look a host up for a client in `namespace`: an address, or a Service's name in any of its forms."""
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _service(view, host, namespace)
    owner = min(view.services_at(address), key=lambda service: service.age, default=None)
    return Host(address, owner.key if owner else None)


def _service(view: View, host: str, namespace: str) -> Host:
    """`name`, `name.namespace`, `name.namespace.svc` and `name.namespace.svc.cluster.local`."""
    name, *rest = host.lower().rstrip(".").split(".")
    space, domain = (rest[0], tuple(rest[1:])) if rest else (namespace, ())
    service = view.get(Service, space, name)
    if service is None or domain not in ((), DOMAIN[:1], DOMAIN):
        return Host(reason=f"{host} is no Service that is known here")
    if not service.cluster_ips:
        return Host(service=service.key, reason=f"{service.key} {service.without_frontend}: weft leaves it alone")
    return Host(service.cluster_ips[0], service.key)
