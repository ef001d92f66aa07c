"""The query of `weft simulate` and `weft explain`: a pod, a method, a URL and headers."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from agent.ir.request import Request, request
from agent.ir.tables import Protocol, host_port
from agent.model.meta import Key

# The default port of each scheme; URLs of `tcp` and `udp` must have a port.
PORTS = {"http": 80, "https": 443, "tcp": None, "udp": None}


class QueryError(Exception):
    """An invalid query; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class TrafficQuery:
    """A pod's request, or its connection where the scheme is `tcp` or `udp`."""

    pod: Key
    scheme: str
    host: str
    port: int
    request: Request

    @property
    def protocol(self) -> Protocol:
        """The transport protocol."""
        return Protocol.UDP if self.scheme == "udp" else Protocol.TCP

    @property
    def is_request(self) -> bool:
        """Whether the query is about a request, not only about a connection."""
        return self.scheme in ("http", "https")

    def of_pod(self, name: str) -> "TrafficQuery":
        """The same of the pod `NAMESPACE/POD`, for a query that names its Deployment."""
        return replace(self, pod=Key("Pod", *name.split("/")))

    @property
    def url(self) -> str:
        """The URL that a client requests for this query."""
        return f"{self.scheme}://{host_port(self.host, self.port)}{self.request.target}"

    @property
    def server_name(self) -> str:
        """The SNI that a TLS client sends: the host name, empty for an IP address (RFC 6066)."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host
        return ""


def parse_query(pod: str, method: str, url: str, headers: Iterable[str]) -> TrafficQuery:
    """Parse the arguments of a command line. Raises `QueryError`."""
    namespace, name = parse_name(pod, "NAMESPACE/POD")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError as error:
        raise QueryError(f"URL: {url!r}: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise QueryError(f"URL: {url!r} is not {', '.join(PORTS)} and ://HOST")
    if port is None:
        raise QueryError(f"URL: {url!r} has no port")
    query = request(method.upper(), _authority(parts, port), _target(parts), map(_header, headers))
    return TrafficQuery(Key("Pod", namespace, name), parts.scheme, parts.hostname, port, query)


def parse_name(text: str, form: str) -> tuple[str, str]:
    """A namespace and a name in it. `form` is how the command line calls them. Raises `QueryError`."""
    namespace, _, name = text.partition("/")
    if not (namespace and name):
        raise QueryError(f"{text!r} is not {form}")
    return namespace, name


def _authority(parts: SplitResult, port: int) -> str:
    """The Host that clients send: without the port when it is the scheme's."""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if PORTS[parts.scheme] == port else f"{host}:{port}"


def _target(parts: SplitResult) -> str:
    """Path and query; a fragment stays with the client."""
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise QueryError(f"--header: {text!r} is not NAME:VALUE")
    return name.strip(), value.strip()
