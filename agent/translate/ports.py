"""Which kind of traffic a Service port carries, by its Service alone (DESIGN.md §3): no bytes are inspected."""

from enum import StrEnum

from agent.model.core import ServicePort

# The names that users give ports, and the application protocols that appProtocol takes (KEP-1422, GEP-1911).
HTTP = frozenset({"http", "http2", "h2c", "grpc", "ws", "kubernetes.io/h2c", "kubernetes.io/ws"})
TLS = frozenset({"tls", "https", "wss", "kubernetes.io/wss"})
OPAQUE = frozenset(
    {"tcp", "udp", "sctp", "ssh", "ldap", "ldaps"}
    # Protocols in which the server sends first: a proxy that waits for the client's first bytes would wait for ever.
    | {"mysql", "mariadb", "postgres", "postgresql", "mongo", "mongodb", "redis", "smtp", "imap", "pop3", "ftp"}
    | {"amqp", "mqtt", "nats", "kafka", "memcached", "cassandra", "zookeeper"}
)
H2C = frozenset({"h2c", "http2", "grpc", "kubernetes.io/h2c"})


class PortKind(StrEnum):
    """What a port carries: HTTP, TLS, neither, or unknown."""

    HTTP = "http"
    TLS = "tls"
    OPAQUE = "opaque"
    UNMARKED = "unmarked"


def port_kind(port: ServicePort) -> PortKind:
    """By appProtocol, else by the port's name up to its first `-`."""
    marks = (port.app_protocol.lower(),) if port.app_protocol else (port.name.partition("-")[0],)
    for mark in marks:
        if mark in HTTP:
            return PortKind.HTTP
        if mark in TLS:
            return PortKind.TLS
        if mark in OPAQUE:
            return PortKind.OPAQUE
    return PortKind.UNMARKED


def may_be_http(port: ServicePort) -> bool:
    """Whether neither appProtocol nor name mark a TCP port as one of another protocol than HTTP."""
    return port.protocol == "TCP" and port_kind(port) in (PortKind.HTTP, PortKind.UNMARKED)


def speaks_h2c(port: ServicePort) -> bool:
    """Whether the servers of the port expect HTTP/2 in clear text."""
    return (port.app_protocol.lower() or port.name.partition("-")[0]) in H2C
