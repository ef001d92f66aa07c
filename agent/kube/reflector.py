"""List and watch of one collection, as a state machine: responses in, changes out. It does no I/O.

It follows the API's contract (kubernetes.io/docs/reference/using-api/api-concepts): a list in pages, then a watch from
the list's resourceVersion, which events and bookmarks advance. When that version is too old (410), the reflector lists
again, and emits only the difference. Until then all objects stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from agent.internal_errors import InternalErrors
from agent.kube.collection import Collection
from agent.kube.errors import UNREACHABLE, ApiError, api_error
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Upsert, internal_error
from agent.model.meta import Key, Value

PAGE = 500
# After this many rejections of a watch in a row the reflector lists again: a restored etcd may not know the version.
MAX_REJECTIONS = 3
BAD_RESPONSE = 502


class Name(NamedTuple):
    """An object of the collection."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Request:
    """The next request, below the collection's path."""

    query: Mapping[str, str]
    watch: bool


class _Metadata(Value, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Identity(Value, frozen=True):
    """The metadata that identifies any object."""

    metadata: _Metadata = _Metadata()


class _ListMetadata(Value, frozen=True):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(Value, frozen=True):
    metadata: _ListMetadata
    items: tuple[msgspec.Raw, ...] | None = None


class _Event(Value, frozen=True):
    type: str
    object: msgspec.Raw


_PAGE = msgspec.json.Decoder(_Page)
_EVENT = msgspec.json.Decoder(_Event)
_IDENTITY = msgspec.json.Decoder(_Identity)


def _identity(raw: bytes) -> _Metadata:
    """The object's identity. An object without one has an empty name, and is a `Problem`."""
    try:
        return _IDENTITY.decode(raw).metadata
    except msgspec.DecodeError:
        return _Metadata()


class Reflector:
    """The known objects of one collection, and the next request."""

    def __init__(self, collection: Collection, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._collection = collection
        self._errors = errors or InternalErrors()
        self._known: dict[Name, tuple[Keyed, ...]] = {}
        self._problems: dict[Name, Problem] = {}
        # The last valid values of objects that are a `Problem` now.
        self._last_good: dict[Name, tuple[Keyed, ...]] = {}
        self._seen: set[Name] = set()
        self._continue = ""
        self._version = ""
        self._paged = True
        # With a field selector the server's cache finds the few objects. etcd would read all of them, for each node.
        self._from_cache = "fieldSelector" in collection.query
        self._rejections = 0
        self.synced = False

    @property
    def objects(self) -> int:
        """The number of known objects."""
        return len(self._known)

    @property
    def watching(self) -> bool:
        """Whether the list is complete and the collection is watched."""
        return bool(self._version)

    def request(self) -> Request:
        """The next request."""
        query = dict(self._collection.query)
        if self._version:
            query |= {"resourceVersion": self._version, "allowWatchBookmarks": "true"}
            return Request(query | {"watch": "true"}, watch=True)
        if self._paged:
            query["limit"] = str(PAGE)
        if self._continue:
            query["continue"] = self._continue
        elif self._from_cache:
            query["resourceVersion"] = "0"
        return Request(query, watch=False)

    def page(self, body: bytes) -> list[Change]:
        """Process a page of the list. Raises `ApiError` if it is not a list."""
        try:
            page = _PAGE.decode(body)
        except msgspec.DecodeError as error:
            raise ApiError(BAD_RESPONSE, f"not a list: {error}") from error
        self._rejections = 0
        changes = [change for raw in page.items or () for change in self._listed(bytes(raw))]
        self._continue = page.metadata.continue_
        if not self._continue:
            changes += self._finish_list(page.metadata.resource_version)
        return changes

    def event(self, line: bytes) -> list[Change]:
        """Process an event of the watch. Raises `ApiError` for an ERROR event, and if it is not an event."""
        try:
            event = _EVENT.decode(line)
            raw = bytes(event.object)
        except msgspec.DecodeError as error:
            raise ApiError(BAD_RESPONSE, f"not an event: {error}") from error
        if event.type == "ERROR":
            raise api_error(raw)
        self._rejections = 0
        meta = _identity(raw)
        name = Name(meta.namespace, meta.name)
        changes: list[Change] = []
        if event.type in ("ADDED", "MODIFIED"):
            changes = self._decode(name, raw)
        elif event.type == "DELETED":
            changes = self._apply(name, ())
        self._version = meta.resource_version or self._version
        return changes

    def failed(self, error: ApiError) -> None:
        """Process a failed request. List again after an expired version, an invalid response, or repeated
        rejections.
        """
        if error.gone and not self._version:
            self._paged = False  # pages expired while they were read: one whole list cannot expire
        if error.status not in (UNREACHABLE, 429):
            self._rejections += 1
            self._from_cache = False
        if error.status in (410, BAD_RESPONSE) or self._rejections >= MAX_REJECTIONS:
            self.restart()

    def restart(self) -> None:
        """Start with a list again."""
        self._version = self._continue = ""
        self._seen = set()
        self._rejections = 0

    def forget(self) -> list[Change]:
        """The kind was removed: delete all objects."""
        self.restart()
        return [change for name in self._known.keys() | self._problems.keys() for change in self._apply(name, ())]

    def _listed(self, raw: bytes) -> list[Change]:
        meta = _identity(raw)
        name = Name(meta.namespace, meta.name)
        self._seen.add(name)
        return self._decode(name, raw)

    def _finish_list(self, version: str) -> list[Change]:
        """The list is complete: delete objects that are not in it."""
        gone = (self._known.keys() | self._problems.keys()) - self._seen
        self._version, self._seen, self._paged, self.synced = version, set(), True, True
        # The cache may be older than the known objects: later lists come from etcd.
        self._from_cache = False
        return [change for name in sorted(gone) for change in self._apply(name, ())]

    def _decode(self, name: Name, raw: bytes) -> list[Change]:
        """Decode an object. If that fails, its last valid values stay."""
        where = self._where(name)
        found: Sequence[Keyed] | Problem | None = None
        with self._errors.guard("decode", where):
            found = self._collection.read(raw, where)
        if found is None:
            problem = internal_error(where, where)
            found = replace(problem, facts=self._collection.undecodable(raw, problem))
        return self._keep_last_good(name, found) if isinstance(found, Problem) else self._apply(name, tuple(found))

    def _keep_last_good(self, name: Name, problem: Problem) -> list[Change]:
        """Record a problem. The object's last valid values stay, except facts that the broken object still tells."""
        good = self._last_good.setdefault(name, self._known.get(name, ()))
        values: dict[Key, Keyed] = {value.key: value for value in (*good, *problem.facts)}
        changes = self._replace(name, tuple(values.values()))
        reported, before = replace(problem, facts=()), self._problems.get(name)
        self._problems[name] = reported
        return [*changes, reported] if reported != before else changes

    def _apply(self, name: Name, values: tuple[Keyed, ...]) -> list[Change]:
        """Set an object's values; without values it is deleted."""
        self._last_good.pop(name, None)
        self._errors.forget("decode", self._where(name))
        changes = self._replace(name, values)
        if self._problems.pop(name, None):
            changes.append(Resolved(self._where(name)))
        return changes

    def _replace(self, name: Name, values: tuple[Keyed, ...]) -> list[Change]:
        """Replace the values of one object. Returns the difference."""
        old: dict[Key, Keyed] = {value.key: value for value in self._known.get(name, ())}
        new: dict[Key, Keyed] = {value.key: value for value in values}
        if values:
            self._known[name] = values
        else:
            self._known.pop(name, None)
        changes: list[Change] = [Delete(key) for key in old if key not in new]
        return changes + [Upsert(value) for key, value in new.items() if old.get(key) != value]

    def _where(self, name: Name) -> str:
        """An object's location, for its problem."""
        return "/".join(part for part in (self._collection.plural, name.namespace, name.name) if part)
