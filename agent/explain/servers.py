"""The pods of manifests as servers, and the Services that lead to them."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.explain.assumed_pods import assumed_pods
from agent.explain.manifest_mesh import translated
from agent.explain.manifests import Manifests
from agent.explain.protection import Protection, protection_of
from agent.explain.workloads import pods_of
from agent.model.authorization import AuthorizationPolicy
from agent.model.core import Pod, Service
from agent.model.meta import Key
from agent.translate.options import Options
from agent.translate.workload import workload_of

ASSUMED = (Service.__name__, AuthorizationPolicy.__name__)
"""The kinds for whose selectors pods are assumed."""


class Servers:
    """The pods of manifests, by the key of the Pod or of the workload with its template. Where a Service or a policy
    selects none, a pod is assumed that has the key of that object.
    """

    def __init__(self, manifests: Manifests, documents: Iterable[tuple[str, Any]]) -> None:
        """`documents` are the same manifests as parsed, each with its location."""
        objects = manifests.objects.values()
        found = pods_of(manifests, documents)
        self.pods: Mapping[Key, Pod] = {**found, **dict(assumed_pods(objects, found))}
        self.services = {value.key: value for value in objects if isinstance(value, Service)}
        self._options = Options()
        self._view = translated(manifests, self._options).view()

    def protection(self, pod: Pod) -> Protection:
        """What these manifests decide about a pod, which may be of other ones."""
        return protection_of(self._view, pod, self._options)

    def pods_of_service(self, service: Service) -> Mapping[Key, Pod]:
        """The pods that a Service selects."""
        return {key: pod for key, pod in self.pods.items() if service.selects(pod)}

    def service_ports(self, pod: Pod) -> dict[str, int]:
        """The ports of Services that lead to a pod, `NAMESPACE/NAME:PORT`, each with the pod's port."""
        return {
            f"{service.metadata.namespace}/{service.metadata.name}:{port.port}": number
            for service in self.services.values()
            if service.selects(pod)
            for port in service.spec.ports
            if (number := port.number_in(pod)) is not None
        }

    def find(self, namespace: str, name: str) -> Pod | None:
        """A pod by its own name or by that of its workload."""
        found = [(key, pod) for key, pod in self.pods.items() if key.kind not in ASSUMED and key.namespace == namespace]
        return next((pod for key, pod in found if name in (key.name, workload_of(pod).name)), None)


def server_name(key: Key, pod: Pod) -> str:
    """How people call pods: by their workload, or by what selects them."""
    return f"pods of {key}" if key.kind in ASSUMED else f"{key.namespace}/{workload_of(pod).name}"
