"""What `weft simulate` and `weft explain` are asked: a pod, a method, a URL and headers."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from agent.ir.request import Request, request
from agent.ir.tables import Protocol, host_port
from agent.model.meta import Key

# The port of each scheme; of those below HTTP the URL has to say it.
PORTS = {"http": 80, "https": 443, "tcp": None, "udp": None}


class QuestionError(Exception):
    """A question that makes no sense, in one sentence."""


@dataclass(frozen=True, slots=True)
class Question:
    """A pod's request, or its connection where the scheme is `tcp` or `udp`."""

    pod: Key
    scheme: str
    host: str
    port: int
    request: Request

    @property
    def protocol(self) -> Protocol:
        """What the pod connects by."""
        return Protocol.UDP if self.scheme == "udp" else Protocol.TCP

    @property
    def is_request(self) -> bool:
        """Whether more is asked about than a connection."""
        return self.scheme in ("http", "https")

    @property
    def url(self) -> str:
        """What a client would ask for to ask just this."""
        return f"{self.scheme}://{host_port(self.host, self.port)}{self.request.target}"

    @property
    def server_name(self) -> str:
        """What a TLS client says first: the name that it dials, nothing where it dials an address (RFC 6066)."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return self.host
        return ""


def question(pod: str, method: str, url: str, headers: Iterable[str]) -> Question:
    """Read a command line's words. Raises `QuestionError`."""
    namespace, slash, name = pod.partition("/")
    if not (namespace and slash and name):
        raise QuestionError(f"{pod!r} is not NAMESPACE/POD")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError as error:
        raise QuestionError(f"URL: {url!r}: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise QuestionError(f"URL: {url!r} is not {', '.join(PORTS)} and ://HOST")
    if port is None:
        raise QuestionError(f"URL: {url!r} has no port")
    asked = request(method.upper(), _authority(parts, port), _target(parts), map(_header, headers))
    return Question(Key("Pod", namespace, name), parts.scheme, parts.hostname, port, asked)


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
        raise QuestionError(f"--header: {text!r} is not NAME:VALUE")
    return name.strip(), value.strip()
