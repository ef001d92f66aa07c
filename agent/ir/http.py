"""Between Routes and Envoy: what the waypoint should do on one port for one group of clients, already bound,
validated, merged and sorted by precedence.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass

from agent.ir.services import local_name, service_key
from agent.model.filters import Filter
from agent.model.meta import Key
from agent.model.routes import GRPCRouteMatch, HTTPRouteMatch

# An endpoint's address and port.
EndpointAddress = tuple[str, int]


@dataclass(frozen=True, slots=True)
class BackendPort:
    """One port of a Service, or of a ServiceImport (`service` is its `local_name`): an Envoy cluster.

    `protocol` is `http` for HTTP/1.1, `h2c`, `same` for the client's version of HTTP, or `tcp` for bytes.
    `client_ip_affinity`: the Service has `sessionAffinity: ClientIP`. `proxy_trust_domain`, of `tcp` only: a connection
    begins with a header of the PROXY protocol, which has the SPIFFE ID of the client, of this trust domain; empty: it
    has no header.
    """

    namespace: str
    service: str
    port: int
    protocol: str = "http"
    client_ip_affinity: bool = False
    proxy_trust_domain: str = ""

    @classmethod
    def of(
        cls, service: Key, port: int, protocol: str, client_ip_affinity: bool = False, proxy_trust_domain: str = ""
    ) -> "BackendPort":
        """The port of a Service or ServiceImport."""
        return cls(service.namespace, local_name(service), port, protocol, client_ip_affinity, proxy_trust_domain)

    @property
    def key(self) -> Key:
        """The Service or ServiceImport."""
        return service_key(f"{self.namespace}/{self.service}")

    @property
    def cluster(self) -> str:
        """The cluster's name, which the access log and the statistics show."""
        return f"{self.namespace}/{self.service}:{self.port}/{self.protocol}"


class ResolvedFilter(ABC):
    """A filter that refers to backends, with those that exist; its module defines it."""

    @property
    @abstractmethod
    def backends(self) -> tuple[BackendPort, ...]:
        """The backends to which it sends something."""


@dataclass(frozen=True, slots=True)
class WeightedBackend:
    """A share of a rule's requests. `backend` is None where the reference is invalid: that share is answered 500
    (gRPC: UNAVAILABLE). Weights are the Route's own; a backend of weight 0 is left out. `resolved` are its filters that
    refer to backends of their own.
    """

    backend: BackendPort | None
    weight: int
    filters: tuple[Filter, ...] = ()
    resolved: tuple[ResolvedFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """The endpoints of several backends as one Envoy cluster, because Envoy looks for a session's endpoint in one
    cluster only. The name consists of the members, so equal names mean equal pools.
    """

    members: tuple[BackendPort, ...]

    @property
    def protocol(self) -> str:
        """The protocol of all members."""
        return self.members[0].protocol

    @property
    def client_ip_affinity(self) -> bool:
        """Whether a client without a session keeps its endpoint: only where every member has ClientIP affinity."""
        return all(item.client_ip_affinity for item in self.members)

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return "+".join(f"{item.namespace}/{item.service}:{item.port}" for item in self.members) + f"/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Session:
    """Requests with the same cookie, or header, of this name go to the same endpoint; `seconds` ends it, if it ends.

    `path` is the cookie's, None for the paths that the rule matches. `pool` is set where several backends share the
    requests: a session stays with its endpoint whatever the weights become, 0 too (GEP-1619).
    """

    name: str
    header: bool = False
    path: str | None = None
    seconds: int | None = None
    pool: Pool | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries of requests that did not reach a server, or got one of these status codes: at most `attempts`.

    `backoff` is the base interval between attempts, in milliseconds; None: Envoy's default.
    """

    attempts: int
    codes: tuple[int, ...] = ()
    backoff: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One match of one rule of one Route, and what happens then.

    `name` is `namespace/route/rule-name-or-index/match-index`, for access logs. Timeouts are in milliseconds; None is
    no timeout. `resolved` are the filters that refer to backends. No backends and no redirect means that the rule
    answers 500.
    """

    name: str
    match: HTTPRouteMatch | GRPCRouteMatch
    filters: tuple[Filter, ...] = ()
    backends: tuple[WeightedBackend, ...] = ()
    request_timeout: int | None = None
    backend_timeout: int | None = None
    resolved: tuple[ResolvedFilter, ...] = ()
    retry: Retry | None = None
    session: Session | None = None

    @property
    def pool(self) -> Pool | None:
        """The one cluster of all backends, where a session needs it; else None."""
        return self.session.pool if self.session else None

    @property
    def clusters(self) -> set[BackendPort | Pool]:
        """Every cluster that gets requests, those of filters too."""
        resolved = itertools.chain(self.resolved, *(item.resolved for item in self.backends))
        others: set[BackendPort | Pool] = {backend for item in resolved for backend in item.backends}
        if self.pool is not None:
            return others | {self.pool}
        return others | {item.backend for item in self.backends if item.backend is not None}


@dataclass(frozen=True, slots=True)
class TLSRule:
    """One TLSRoute: connections with these server names (SNI) go unchanged to one of the backends. `*.` stands for any
    labels; no names at all for any server.
    """

    name: str
    server_names: tuple[str, ...]
    backends: tuple[WeightedBackend, ...]


@dataclass(frozen=True, slots=True)
class TLSListenerIR:
    """The TLSRoutes of one Service port for one group of clients. No two have a server name in common.

    `name` is as in HTTPListenerIR.
    """

    name: str
    consumer: str
    rules: tuple[TLSRule, ...]

    @property
    def clusters(self) -> list[BackendPort | Pool]:
        """Every cluster of every rule, each once, by name."""
        return list(self.backends)

    @property
    def backends(self) -> list[BackendPort]:
        """Every backend of every rule, each once, by its cluster's name."""
        found = {item.backend for rule in self.rules for item in rule.backends if item.backend is not None}
        return sorted(found, key=lambda item: item.cluster)


@dataclass(frozen=True, slots=True)
class HTTPListenerIR:
    """The rules of one Service port for one group of clients, most specific first.

    `name` is `namespace/service:port`, followed by `@consumer` for consumer routes. `port` is the Service port, which a
    redirect's Location has when the Route gives none. `xfcc_trust_domain`: servers get the SPIFFE ID of the client of a
    request, of this trust domain; empty: they get none.
    """

    name: str
    consumer: str
    port: int
    grpc: bool
    rules: tuple[Rule, ...]
    xfcc_trust_domain: str = ""

    @property
    def clusters(self) -> list[BackendPort | Pool]:
        """Every cluster of every rule, each once, by name."""
        found = set[BackendPort | Pool]().union(*(rule.clusters for rule in self.rules))
        return sorted(found, key=lambda item: item.cluster)

    @property
    def backends(self) -> list[BackendPort]:
        """Every backend of every rule, members of pools too, each once, by its cluster's name."""
        found = {member for item in self.clusters for member in (item.members if isinstance(item, Pool) else (item,))}
        return sorted(found, key=lambda item: item.cluster)


ListenerIR = HTTPListenerIR | TLSListenerIR
