"""kube-proxy's part: Services as nftables rules in the node's namespace, for clients that no mesh serves."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from agent.lab.controllers import labels_of, with_kind
from agent.lab.network import NODE_ADDRESS, SERVICE_RANGE
from agent.lab.store import Object, Objects
from agent.model.meta import Key


@dataclass(frozen=True, slots=True)
class Frontend:
    """One port of one cluster IP and the ready endpoints behind it, as (address, port)."""

    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]
    sticky: bool

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return f"to-{self.address}-{self.protocol}-{self.port}"


def frontends(objects: Objects) -> Iterator[Frontend]:
    """Every port of every Service that has a cluster IP."""
    for key, service in with_kind(objects, "Service"):
        spec = service["spec"]
        if spec.get("clusterIP", "None") == "None":
            continue
        for port in spec.get("ports", ()):
            protocol = port.get("protocol", "TCP")
            found = tuple(_endpoints(objects, key, port.get("name", ""), protocol))
            sticky = spec.get("sessionAffinity") == "ClientIP"
            yield Frontend(spec["clusterIP"], protocol.lower(), port["port"], found, sticky)


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


def ruleset(objects: Objects) -> str:
    """The whole table as one transaction; what is left for the Services' range is refused."""
    found = [frontend for frontend in frontends(objects) if frontend.endpoints]
    chains = "\n".join(_chain(frontend) for frontend in found)
    elements = ", ".join(f"{f.address} . {f.protocol} . {f.port} : goto {f.chain}" for f in found)
    services = f"elements = {{ {elements} }}" if found else ""
    pods = sorted({address for frontend in found for address, _ in frontend.endpoints})
    pairs = ", ".join(f"{pod} . {pod}" for pod in pods)
    hairpin = f"ct status dnat ip saddr . ip daddr {{ {pairs} }} snat to {NODE_ADDRESS}" if pods else ""
    return f"""
table ip services
delete table ip services
table ip services {{
{chains}
map frontends {{ type ipv4_addr . inet_proto . inet_service : verdict; {services}
}}
chain translate {{ ip daddr . meta l4proto . th dport vmap @frontends; }}
chain prerouting {{ type nat hook prerouting priority dstnat; jump translate; }}
chain output {{ type nat hook output priority -100; jump translate; }}
chain postrouting {{ type nat hook postrouting priority srcnat; {hairpin}
}}
chain refuse {{ ip daddr {SERVICE_RANGE} reject; }}
chain forward {{ type filter hook forward priority 0; jump refuse; }}
chain local {{ type filter hook output priority 0; jump refuse; }}
}}
"""


def _chain(frontend: Frontend) -> str:
    count = len(frontend.endpoints)
    pick = f"jhash ip saddr mod {count}" if frontend.sticky else f"numgen random mod {count}"
    targets = ", ".join(f"{i} : {host} . {port}" for i, (host, port) in enumerate(frontend.endpoints))
    return f"chain {frontend.chain} {{ meta l4proto {frontend.protocol} dnat ip to {pick} map {{ {targets} }}; }}"


def load(rules: str) -> None:
    """Replace the rules of the calling process's namespace atomically; raises CalledProcessError."""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
