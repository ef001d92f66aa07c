"""The filter that decides who may connect: discovered by name, so that a new pod does not touch any listener."""

from collections.abc import Iterable

from agent.ir.resources import Json

RBAC = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"


def admission_name(consumer: str) -> str:
    """The filter of everybody's listeners, or of those for one namespace's clients."""
    return f"admit@{consumer}" if consumer else "admit"


def admission(name: str, addresses: Iterable[str]) -> Json:
    """Allow these source addresses and nobody else."""
    principals = [
        {"direct_remote_ip": {"address_prefix": address, "prefix_len": 128 if ":" in address else 32}}
        for address in addresses
    ]
    enrolled = {"permissions": [{"any": True}], "principals": principals}
    return {
        "name": name,
        "typed_config": {
            "@type": RBAC,
            "stat_prefix": "admission",
            "rules": {"action": "ALLOW", "policies": {"enrolled": enrolled} if principals else {}},
        },
    }
