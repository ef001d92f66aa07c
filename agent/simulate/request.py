"""A request as the waypoint sees it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from agent.model.routes import HeaderFilter

Headers = tuple[tuple[str, str], ...]

AUTHORITY = ("host", ":authority")
# What Envoy adds to a request that does not say it itself (DESIGN.md §5).
ADDED = ("x-forwarded-proto", "http")


@dataclass(frozen=True, slots=True)
class Request:
    """A method, a target (path and query, as on the wire), whom it is for, and the other headers in order."""

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
        """Every value of a header; none when it is not there."""
        wanted = name.lower()
        if wanted in AUTHORITY:
            return (self.authority,)
        return tuple(value for other, value in self.headers if other.lower() == wanted)


def request(method: str, authority: str, target: str, headers: Iterable[tuple[str, str]]) -> Request:
    """A request as it arrives: a Host header is its authority, and Envoy has added what it adds."""
    listed = list(headers)
    host = next((value for name, value in listed if name.lower() in AUTHORITY), authority)
    found = Request(method, host, target, tuple(item for item in listed if item[0].lower() not in AUTHORITY))
    return found if found.values(ADDED[0]) else replace(found, headers=(*found.headers, ADDED))


def changed(headers: Headers, changes: Iterable[HeaderFilter]) -> Headers:
    """Headers after modifiers, one after the other: each sets, adds, then removes."""
    for change in changes:
        headers = tuple(_changed(headers, change))
    return headers


def _changed(headers: Headers, change: HeaderFilter) -> Iterator[tuple[str, str]]:
    removed = {name.lower() for name in change.remove}
    replaced = {item.name.lower() for item in change.set}
    yield from (item for item in headers if item[0].lower() not in removed | replaced)
    for item in (*change.set, *change.add):
        if item.name.lower() not in removed:
            yield item.name, item.value
