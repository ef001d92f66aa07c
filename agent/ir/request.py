"""A request as the waypoint sees it."""

from collections.abc import Iterable
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]

AUTHORITY = ("host", ":authority")
# What Envoy adds to a request that does not have it (DESIGN.md §5).
ADDED = ("x-forwarded-proto", "http")
# What Envoy removes before it routes: hop-by-hop headers, and those that configure Envoy (measured on 1.40).
REMOVED = frozenset(
    {"connection", "keep-alive", "proxy-connection", "x-forwarded-client-cert"}
    | {"x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms"}
)
# Headers that Envoy knows by name: several become one, joined by commas (measured on 1.40).
JOINED = frozenset(
    {"accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization"}
    | {"cache-control", "content-encoding", "content-type", "expect", "grpc-accept-encoding", "grpc-timeout"}
    | {"if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "pragma"}
    | {"referer", "user-agent", "via", "x-client-trace-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port"}
    | {"x-forwarded-proto", "x-request-id"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """A method, a target (path and query, as on the wire), an authority, and the other headers in order."""

    method: str
    authority: str
    target: str = "/"
    headers: Headers = ()

    @property
    def path(self) -> str:
        """The target without its query; a CONNECT has none."""
        return "" if self.method == "CONNECT" else self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the first `?`, as it is on the wire."""
        return self.target.partition("?")[2]

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a header; none when it is absent."""
        wanted = name.lower()
        if wanted in AUTHORITY:
            return (self.authority,)
        return tuple(value for other, value in self.headers if other.lower() == wanted)


def request(method: str, authority: str, target: str, headers: Iterable[tuple[str, str]]) -> Request:
    """A request as Envoy routes it: a Host header is its authority; Envoy removed, added and joined other headers."""
    listed = list(headers)
    host = next((value for name, value in listed if name.lower() in AUTHORITY), authority)
    kept = [(name, value) for name, value in listed if not _is_removed(name.lower(), value)]
    added = [] if any(name.lower() == ADDED[0] for name, _ in kept) else [ADDED]
    return Request(method, host, target, joined((*kept, *added)))


def joined(headers: Iterable[tuple[str, str]]) -> Headers:
    """Join headers of one name that Envoy knows, at the place of the first."""
    found: list[tuple[str, str]] = []
    indices: dict[str, int] = {}
    for name, value in headers:
        index = indices.setdefault(name.lower(), len(found))
        if name.lower() in JOINED and index < len(found):
            found[index] = (found[index][0], f"{found[index][1]},{value}")
        else:
            found.append((name, value))
    return tuple(found)


def _is_removed(name: str, value: str) -> bool:
    """Envoy keeps `TE` only with the value `trailers`."""
    return name in REMOVED or name in AUTHORITY or (name == "te" and value != "trailers")
