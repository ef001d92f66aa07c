"""The labels of Istio's metrics, so that Kiali and Istio's dashboards show weft's metrics too.

https://istio.io/latest/docs/reference/config/metrics/. Values that weft cannot know are `unknown`, as in Istio: for
example the destination's workload, because a client dials a Service.
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
    """Istio's labels for a client and a Service."""
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
