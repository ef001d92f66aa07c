"""The pods of manifests as servers: what decides who may connect to them, and which clients it tells apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.explain.assumed_pods import assumed_pods
from agent.explain.manifest_mesh import translated
from agent.explain.manifests import Manifests
from agent.explain.workloads import is_behind, pods_of
from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyVerdict, ServiceAccount, decide
from agent.model.authorization import AuthorizationPolicy
from agent.model.core import Pod, Service
from agent.model.meta import Key
from agent.model.parameters import KIND as PARAMETERS
from agent.translate.authorization import not_enforced
from agent.translate.enrolment import unsupported_runtime
from agent.translate.options import Options
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import policies_of
from agent.translate.workload import workload_of

OTHER_PORT = 0
"""Stands for the ports that no rule names."""
ASSUMED = (Service.__name__, AuthorizationPolicy.__name__)
"""The kinds for whose selectors pods are assumed."""
Client = ServiceAccount | None
"""Clients that policies do not tell apart: the pods of a service account; with the name `ANY` the pods of a namespace
whose account no rule names; None: all other clients, also those without an identity.
"""


@dataclass(frozen=True, slots=True)
class Protection:
    """What decides who may connect to a pod. Without policies every client may, for the reason `open`."""

    policies: tuple[Policy, ...]
    open: str
    default: str

    def verdict(self, client: Client, port: int) -> PolicyVerdict:
        """Whether clients may connect to a port of the pod."""
        return decide(self.policies, identity_of(client), port)

    @property
    def clients(self) -> list[Client]:
        """The clients that the policies tell apart: those that their rules name, then all others."""
        named = {source for policy in self.policies for rule in policy.rules for source in rule.sources or ()}
        return [*sorted(named), None]

    @property
    def ports(self) -> set[int]:
        """The ports that the policies tell apart."""
        return {OTHER_PORT}.union(*(rule.ports for policy in self.policies for rule in policy.rules))

    def reason(self, verdict: PolicyVerdict) -> str:
        """The reason for a verdict, for people."""
        if verdict.policy is None:
            return self.open
        if verdict.policy.kind == PARAMETERS:
            return f"the default {self.default} of {verdict.policy}"
        if verdict.allowed:
            return f"{verdict.policy}, spec.rules[{verdict.rule}]"
        return f"no rule of {', '.join(self.deciding(verdict))}"

    def deciding(self, verdict: PolicyVerdict) -> tuple[str, ...]:
        """The policy that allows, or all those that do not."""
        return tuple(str(policy.key) for policy in self.policies if not verdict.allowed or policy.key == verdict.policy)


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
        namespace, default = pod.metadata.namespace, mesh_parameters(self._view).spec.authorization.default
        if reason := not_enforced(pod, unsupported_runtime(self._view, pod, self._options)):
            return Protection((), f"Unsupported, its policies are not enforced: {reason}", default)
        exempt = "" if default == "Allow" else f", from which namespace {namespace} is exempt"
        reason = f"no policy selects it, and the default of the mesh is {default}{exempt}"
        return Protection(tuple(policies_of(self._view, pod)), reason, default)

    def pods_of_service(self, service: Service) -> Mapping[Key, Pod]:
        """The pods that a Service selects."""
        return {key: pod for key, pod in self.pods.items() if is_behind(service, pod)}

    def service_ports(self, pod: Pod) -> dict[str, int]:
        """The ports of Services that lead to a pod, `NAMESPACE/NAME:PORT`, each with the pod's port."""
        return {
            f"{service.metadata.namespace}/{service.metadata.name}:{port.port}": number
            for service in self.services.values()
            if is_behind(service, pod)
            for port in service.spec.ports
            if (number := port.number_in(pod)) is not None
        }

    def find(self, namespace: str, name: str) -> tuple[Key, Pod] | None:
        """A pod by its own name or by that of its workload."""
        found = [(key, pod) for key, pod in self.pods.items() if key.kind not in ASSUMED and key.namespace == namespace]
        return next(((key, pod) for key, pod in found if name in (key.name, workload_of(pod).name)), None)


def server_name(key: Key, pod: Pod) -> str:
    """How people call pods: by their workload, or by what selects them."""
    return f"pods of {key}" if key.kind in ASSUMED else f"{key.namespace}/{workload_of(pod).name}"


def client_id(client: Client) -> str:
    """Clients for programs: `NAMESPACE/ACCOUNT`, `NAMESPACE/*`, or `*`."""
    return str(client) if client else ANY


def ports_of(
    alike: Iterable[int], ports: Iterable[int], services: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[int, ...] | None, tuple[int, ...] | None]:
    """Of `ports`, those that are `alike`: the ports of Services that lead there; these ports, or None where those that
    no rule names are among them; then all others.
    """
    found = set(alike)
    leading = tuple(sorted(name for name, number in services.items() if number in found))
    if OTHER_PORT in found:
        return leading, None, tuple(sorted(set(ports) - found))
    return leading, tuple(sorted(found)), None


def identity_of(client: Client) -> Identity | None:
    """An identity that stands for clients. No service account has the name `ANY`: of such an identity only rules about
    all accounts of the namespace hold.
    """
    return Identity(client.namespace, client.name, Workload(client.namespace, "", "", "")) if client else None
