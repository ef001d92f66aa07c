"""`sessionAffinity: ClientIP` at the waypoint: a client's address is hashed to an endpoint (Envoy's Maglev).

Its table is the same in every Envoy and every worker: a client keeps its endpoint also when the waypoint is replaced.
When an endpoint goes, the clients of the others stay, but for at most one in 200; when one comes, it gets its share of
them. Envoy's ring hash would move up to 15 in 100 besides: an endpoint has fewer points the more of them there are.
"""

from collections.abc import Iterable

from agent.ir.http import WeightedBackend
from agent.ir.resources import Json

CLUSTER: Json = {"lb_policy": "MAGLEV"}
ROUTE: Json = {"hash_policy": [{"connection_properties": {"source_ip": True}}]}
PROXY: Json = {"hash_policy": [{"source_ip": {}}]}


def any_affinity(backends: Iterable[WeightedBackend]) -> bool:
    """Whether any of these backends has ClientIP affinity. Clusters of the others ignore the hash."""
    return any(item.backend is not None and item.backend.client_ip_affinity for item in backends)
