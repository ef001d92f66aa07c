"""`weft authz`: who may connect to the pods of a Service, and where a pod may connect."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from agent.explain.protection import Client, PortsOf, Protection, Verdict, client_id
from agent.explain.query import QueryError
from agent.ir.policy import ServiceAccount
from agent.model.core import Pod, Service, ServicePort
from agent.model.meta import Key

Document = dict[str, Any]
# What the API server writes into the spec of a pod without one.
DEFAULT_ACCOUNT = "default"
ALWAYS = "always admitted: a pod's connections to itself, and the kubelet at the ports of the pod's probes"
HOST_NETWORK = "the pod is on the host's network: servers do not know its service account"


@dataclass(frozen=True, slots=True)
class AllowedClient:
    """Clients that may connect: a service account, `NAMESPACE/*` for every pod of a namespace, or `*`. Of the policies
    the first one that admits them is named, with the position of its rule; None where no policy selects the pod.
    `requests`: which of their requests the waypoint lets through; none where it does not look at these.
    """

    client: str
    policy: str | None
    rule: int | None
    requests: tuple[str, ...]
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
    requests: tuple[str, ...]
    reason: str


Row = tuple[PortClients | Reach, str]
"""A row of an answer, with the name of a pod."""


class PodSource(Protocol):
    """What is known of pods and Services, of manifests or of a cluster."""

    def service(self, name: Key) -> Service:
        """A Service. Raises `QueryError`."""

    def clients(self, service: Service, ports: list[ServicePort]) -> Iterator[Row]:
        """Who may connect to ports of a Service, by the pods behind it. Raises `QueryError`."""

    def pod(self, namespace: str, name: str) -> Pod:
        """A pod, by its name or by that of its workload. Raises `QueryError`."""

    def targets(self, client: Client, pod: Pod) -> Iterator[Row]:
        """The ports of all pods but this one to which a client may connect, and those that refuse it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Its rows, `field` of the document, are made one by one: a cluster can have 100 000 endpoints."""

    head: Document
    field: str
    rows: Iterator[Row]
    notes: tuple[str, ...]

    def document(self, rows: Iterable[Row]) -> Document:
        """The document, with each row once, with the names of its pods."""
        names: dict[PortClients | Reach, set[str]] = defaultdict(set)
        for row, name in rows:
            names[row].add(name)
        listed = [{"pods": sorted(found), **asdict(row)} for row, found in names.items()]
        return {**self.head, self.field: listed, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachQuery:
    """Who may connect to a Service, at one of its ports or at all; without a Service, where a pod may connect. Both are
    named by namespace and name.
    """

    service: tuple[str, str] | None = None
    port: int | None = None
    pod: tuple[str, str] = ("", "")

    def path(self) -> str:
        """The path on the agent's socket."""
        return f"/reach?query={quote(msgspec.json.encode(self))}"

    def answer(self, source: PodSource) -> Answer:
        """The answer. Raises `QueryError`."""
        if self.service is None:
            return _can_reach(source, *self.pod)
        return _who_can(source, Key(Service.__name__, *self.service), self.port)


def _who_can(source: PodSource, name: Key, port: int | None) -> Answer:
    service = source.service(name)
    ports = [item for item in service.spec.ports if port in (None, item.port)]
    if not ports:
        raise QueryError(f"{name} has no port {port}, only {', '.join(str(item.port) for item in service.spec.ports)}")
    return Answer({"service": f"{name.namespace}/{name.name}"}, "ports", source.clients(service, ports), (ALWAYS,))


def _can_reach(source: PodSource, namespace: str, name: str) -> Answer:
    pod = source.pod(namespace, name)
    account = ServiceAccount(namespace, pod.spec.service_account_name or DEFAULT_ACCOUNT)
    client = None if pod.spec.host_network else account
    head = {"pod": f"{namespace}/{name}", "serviceAccount": str(account)}
    notes = (ALWAYS,) if client else (ALWAYS, HOST_NETWORK)
    return Answer(head, "targets", source.targets(client, pod), notes)


def port_clients(port: ServicePort, target: int, protection: Protection) -> PortClients:
    """The clients that may connect to a port of a Service, by what decides about a pod and its port."""
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


def reach(ports: PortsOf, verdict: Verdict, protection: Protection) -> Reach:
    """A verdict on ports of a pod."""
    return Reach(
        *ports,
        verdict.allowed,
        protection.deciding(verdict),
        verdict.rule,
        verdict.requests,
        protection.reason(verdict),
    )


def _allowed_client(client: Client, verdict: Verdict, protection: Protection) -> AllowedClient:
    policy = str(verdict.policy) if verdict.policy else None
    return AllowedClient(client_id(client), policy, verdict.rule, verdict.requests, protection.reason(verdict))
