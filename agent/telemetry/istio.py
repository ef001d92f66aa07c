"""The labels that Istio's metrics have, so that Kiali and its dashboards draw weft's too.

https://istio.io/latest/docs/reference/config/metrics/. What weft cannot know (the destination's workload: a client
dials a Service) is `unknown`, as Istio says it.
"""

from agent.ir.identity import Workload
from agent.model.meta import Key

Pair = tuple[Workload, Key]
UNKNOWN = "unknown"
_CONSTANT = {
    "reporter": "source",
    "source_principal": UNKNOWN,
    "source_cluster": "Kubernetes",
    "destination_workload": UNKNOWN,
    "destination_workload_namespace": UNKNOWN,
    "destination_principal": UNKNOWN,
    "destination_app": UNKNOWN,
    "destination_version": UNKNOWN,
    "destination_canonical_revision": "latest",
    "destination_cluster": "Kubernetes",
    "request_protocol": "tcp",
    "connection_security_policy": UNKNOWN,
}


def _domain(service: Key) -> str:
    return "clusterset.local" if service.kind == "ServiceImport" else "cluster.local"


def pair_labels(pair: Pair) -> dict[str, str]:
    """What Istio's labels say of who talks to whom."""
    client, service = pair
    return _CONSTANT | {
        "source_workload": client.name,
        "source_workload_namespace": client.namespace,
        "source_app": client.service,
        "source_version": client.revision,
        "source_canonical_service": client.service,
        "source_canonical_revision": client.revision,
        "destination_service": f"{service.name}.{service.namespace}.svc.{_domain(service)}",
        "destination_service_name": service.name,
        "destination_service_namespace": service.namespace,
        "destination_canonical_service": service.name,
    }
