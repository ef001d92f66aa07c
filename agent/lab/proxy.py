"""The lab's kube-proxy: Services as nftables rules in the node's namespace, for clients outside the mesh."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.ir.addresses import Family, family_of
from agent.lab.controllers import cluster_ips, labels_of, with_kind
from agent.lab.families import IPV4, Ranges
from agent.lab.store import Object, Objects
from agent.model.meta import Key

_IP = {Family.IPV4: "ip", Family.IPV6: "ip6"}


@dataclass(frozen=True, slots=True)
class Frontend:
    """One port of one cluster IP and the ready endpoints behind it, as (address, port)."""

    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]
    client_ip_affinity: bool

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return f"to-{self.address.replace(':', '_')}-{self.protocol}-{self.port}"


def frontends(objects: Objects) -> Iterator[Frontend]:
    """Every port of every cluster IP."""
    for key, service in with_kind(objects, "Service"):
        spec = service["spec"]
        if spec.get("clusterIP", "None") == "None":
            continue
        for port in spec.get("ports", ()):
            protocol = port.get("protocol", "TCP")
            found = tuple(_endpoints(objects, key, port.get("name", ""), protocol))
            client_ip_affinity = spec.get("sessionAffinity") == "ClientIP"
            for address in cluster_ips(spec):
                same = tuple(item for item in found if family_of(item[0]) is family_of(address))
                yield Frontend(address, protocol.lower(), port["port"], same, client_ip_affinity)


def slices_of(objects: Objects, service: Key) -> Iterator[Object]:
    """The slices that name this Service."""
    for key, item in with_kind(objects, "EndpointSlice"):
        if key.namespace == service.namespace and labels_of(item).get("kubernetes.io/service-name") == service.name:
            yield item


def _endpoints(objects: Objects, service: Key, name: str, protocol: str) -> Iterator[tuple[str, int]]:
    for item in slices_of(objects, service):
        ports = [p["port"] for p in item.get("ports", ()) if (p.get("name", ""), p["protocol"]) == (name, protocol)]
        for endpoint in item.get("endpoints", ()):
            if endpoint.get("conditions", {}).get("ready", True):
                yield from ((endpoint["addresses"][0], port) for port in ports)


def ruleset(objects: Objects, families: Sequence[Ranges] = (IPV4,)) -> str:
    """A table for each family, as one transaction; what is left for the Services' range is refused."""
    found = [frontend for frontend in frontends(objects) if frontend.endpoints]
    return "".join(_table(ranges, found) for ranges in families)


def _table(ranges: Ranges, every: Sequence[Frontend]) -> str:
    ip, found = _IP[ranges.family], [item for item in every if family_of(item.address) is ranges.family]
    chains = "\n".join(_chain(frontend, ip) for frontend in found)
    elements = ", ".join(f"{f.address} . {f.protocol} . {f.port} : goto {f.chain}" for f in found)
    services = f"elements = {{ {elements} }}" if found else ""
    pods = sorted({address for frontend in found for address, _ in frontend.endpoints})
    pairs = ", ".join(f"{pod} . {pod}" for pod in pods)
    hairpin = f"ct status dnat {ip} saddr . {ip} daddr {{ {pairs} }} snat to {ranges.node}" if pods else ""
    return f"""
table {ip} services
delete table {ip} services
table {ip} services {{
{chains}
map frontends {{ type ipv{ranges.family}_addr . inet_proto . inet_service : verdict; {services}
}}
chain translate {{ {ip} daddr . meta l4proto . th dport vmap @frontends; }}
chain prerouting {{ type nat hook prerouting priority dstnat; jump translate; }}
chain output {{ type nat hook output priority -100; jump translate; }}
chain postrouting {{ type nat hook postrouting priority srcnat; {hairpin}
}}
chain refuse {{ {ip} daddr {ranges.services} reject; }}
chain forward {{ type filter hook forward priority 0; jump refuse; }}
chain local {{ type filter hook output priority 0; jump refuse; }}
}}
"""


def _chain(frontend: Frontend, ip: str) -> str:
    count = len(frontend.endpoints)
    pick = f"jhash {ip} saddr mod {count}" if frontend.client_ip_affinity else f"numgen random mod {count}"
    targets = ", ".join(f"{i} : {host} . {port}" for i, (host, port) in enumerate(frontend.endpoints))
    return f"chain {frontend.chain} {{ meta l4proto {frontend.protocol} dnat {ip} to {pick} map {{ {targets} }}; }}"


def load(rules: str) -> None:
    """Replace the rules of the calling process's namespace atomically; raises CalledProcessError."""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
