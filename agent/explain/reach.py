"""`weft authz`: who may connect to the pods of a Service, and where a pod may connect, by the policies of manifests."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from agent.explain.query import QueryError
from agent.explain.servers import OTHER_PORT, Client, Protection, Servers, client_id, ports_of, server_name
from agent.ir.policy import PolicyVerdict, ServiceAccount
from agent.model.core import Pod, ServicePort
from agent.model.meta import Key
from agent.model.parameters import KIND as PARAMETERS

Document = dict[str, Any]
# What the API server writes into the spec of a pod without one.
DEFAULT_ACCOUNT = "default"
ALWAYS = "always admitted: a pod's connections to itself, and the kubelet at the ports of the pod's probes"
HOST_NETWORK = "the pod is on the host's network: servers do not know its service account"


@dataclass(frozen=True, slots=True)
class AllowedClient:
    """Clients that may connect: a service account, `NAMESPACE/*` for every pod of a namespace, or `*`. Of the policies
    the first one that admits them is named, with the position of its rule; None where no policy selects the pod.
    """

    client: str
    policy: str | None
    rule: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class PortClients:
    """Who may connect to a port of a Service. `target` is the port of its pods, None where no container has one of that
    name. Without clients no one may.
    """

    port: int
    protocol: str
    target: int | None
    clients: tuple[AllowedClient, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a client may connect to ports of a pod: to `ports`, or, where this is None, to all but those of `but`.
    `services` are the ports of Services that lead there.
    """

    services: tuple[str, ...]
    ports: tuple[int, ...] | None
    but: tuple[int, ...] | None
    allowed: bool
    policies: tuple[str, ...]
    rule: int | None
    reason: str


def who_can(servers: Servers, name: Key, port: int | None) -> Document:
    """The clients that may connect to a Service, at one of its ports or, with None, at all of them, by the pods behind
    it. Raises `QueryError`.
    """
    service = servers.services.get(name)
    if service is None:
        raise QueryError(f"the manifests have no {name}")
    if not service.spec.selector:
        raise QueryError(f"{name} has no selector: the manifests do not say which pods are behind it")
    ports = [item for item in service.spec.ports if port in (None, item.port)]
    if not ports:
        raise QueryError(f"{name} has no port {port}, only {', '.join(str(item.port) for item in service.spec.ports)}")
    pods = [(key, pod, servers.protection(pod)) for key, pod in servers.pods_of_service(service).items()]
    rows = _grouped((_port_clients(item, pod, found), key, pod) for item in ports for key, pod, found in pods)
    return {"service": f"{name.namespace}/{name.name}", "ports": rows, "notes": [ALWAYS]}


def can_reach(servers: Servers, namespace: str, name: str) -> Document:
    """The ports of pods to which a pod, or the pods of a workload, may connect, and those that refuse it. Raises
    `QueryError`.
    """
    found = servers.find(namespace, name)
    if found is None:
        raise QueryError(f"the manifests have no Pod and no workload {namespace}/{name}")
    own, pod = found
    account = ServiceAccount(namespace, pod.spec.service_account_name or DEFAULT_ACCOUNT)
    client = None if pod.spec.host_network else account
    others = ((key, server) for key, server in servers.pods.items() if key != own or key.kind != "Pod")
    rows = _grouped((row, key, server) for key, server in others for row in _reaches(servers, server, client))
    notes = [ALWAYS, *([HOST_NETWORK] if client is None else [])]
    return {"pod": f"{namespace}/{name}", "serviceAccount": str(account), "targets": rows, "notes": notes}


def _port_clients(port: ServicePort, pod: Pod, protection: Protection) -> PortClients:
    target = port.number_in(pod)
    if target is None:
        return PortClients(port.port, port.protocol, None, (), f"no container has a port {port.target_port}")
    of_all = protection.verdict(None, target)
    verdicts = [(client, protection.verdict(client, target)) for client in protection.clients]
    # A client that the rule for every client admits is not named beside it.
    allowed = tuple(
        _allowed_client(client, verdict, protection)
        for client, verdict in verdicts
        if verdict.allowed and (client is None or verdict != of_all)
    )
    reason = "" if allowed else protection.reason(of_all)
    return PortClients(port.port, port.protocol, target, allowed, reason)


def _allowed_client(client: Client, verdict: PolicyVerdict, protection: Protection) -> AllowedClient:
    policy = str(verdict.policy) if verdict.policy else None
    return AllowedClient(client_id(client), policy, _rule(verdict), protection.reason(verdict))


def _rule(verdict: PolicyVerdict) -> int | None:
    """The position in `spec.rules`, which MeshParameters do not have."""
    return None if verdict.policy is None or verdict.policy.kind == PARAMETERS else verdict.rule


def _reaches(servers: Servers, pod: Pod, client: Client) -> Iterator[Reach]:
    """Of each verdict on a client the ports that have it."""
    protection = servers.protection(pod)
    services = servers.service_ports(pod)
    ports = {*protection.ports, *services.values()}
    verdicts: dict[PolicyVerdict, list[int]] = defaultdict(list)
    for port in (*sorted(ports - {OTHER_PORT}), OTHER_PORT):
        verdicts[protection.verdict(client, port)].append(port)
    for verdict, alike in verdicts.items():
        yield Reach(
            *ports_of(alike, ports, services),
            verdict.allowed,
            protection.deciding(verdict),
            _rule(verdict),
            protection.reason(verdict),
        )


def _grouped(rows: Iterable[tuple[PortClients | Reach, Key, Pod]]) -> list[Document]:
    """Each row once, with the names of its pods."""
    names: dict[PortClients | Reach, set[str]] = defaultdict(set)
    for row, key, pod in rows:
        names[row].add(server_name(key, pod))
    return [{"pods": sorted(found), **asdict(row)} for row, found in names.items()]
