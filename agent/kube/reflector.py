"""List and watch of one collection as a state machine: answers in, changes out. It neither asks nor waits.

It follows the contract of the API (kubernetes.io/docs/reference/using-api/api-concepts): a list in pages, then a watch
from the list's resourceVersion, which bookmarks and events carry on; when that version is too old (410), a new list,
of which only the difference is told. Until then everything that was known stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from agent.internal_errors import InternalErrors
from agent.kube.collection import Collection
from agent.kube.errors import UNREACHABLE, ApiError, explain
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Upsert, internal_error
from agent.model.meta import Key, Value

PAGE = 500
# A watch that is refused this often in a row may ask for what no list would: a version that a restored etcd never had.
PATIENCE = 3
NONSENSE = 502


class Name(NamedTuple):
    """An object of the collection."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask next, below the collection's path."""

    query: Mapping[str, str]
    watch: bool


class _Metadata(Value, frozen=True):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Identity(Value, frozen=True):
    """The part of any object that says which it is."""

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
    """Which object this is; none of any name when it does not say, which is a problem of its own."""
    try:
        return _IDENTITY.decode(raw).metadata
    except msgspec.DecodeError:
        return _Metadata()


class Reflector:
    """What is known of one collection, and what to ask next."""

    def __init__(self, collection: Collection, errors: InternalErrors | None = None) -> None:
        """Without `errors` internal errors are raised."""
        self._collection = collection
        self._errors = errors or InternalErrors()
        self._known: dict[Name, tuple[Keyed, ...]] = {}
        self._problems: dict[Name, Problem] = {}
        # What objects that are a problem now said before they were one.
        self._good: dict[Name, tuple[Keyed, ...]] = {}
        self._seen: set[Name] = set()
        self._continue = ""
        self._version = ""
        self._paged = True
        # Few of many objects: the server's cache picks them, where etcd would have to read them all, for each node.
        self._from_cache = "fieldSelector" in collection.query
        self._refusals = 0
        self.synced = False

    @property
    def objects(self) -> int:
        """How many objects are known."""
        return len(self._known)

    @property
    def watching(self) -> bool:
        """Whether the list is complete and changes are followed."""
        return bool(self._version)

    def request(self) -> Request:
        """What to ask now."""
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
        """Take in a page of the list. Raises `ApiError` when it is none."""
        try:
            page = _PAGE.decode(body)
        except msgspec.DecodeError as error:
            raise ApiError(NONSENSE, f"not a list: {error}") from error
        self._refusals = 0
        changes = [change for raw in page.items or () for change in self._listed(bytes(raw))]
        self._continue = page.metadata.continue_
        if not self._continue:
            changes += self._complete(page.metadata.resource_version)
        return changes

    def event(self, line: bytes) -> list[Change]:
        """Take in one event of the watch. Raises `ApiError` for an ERROR event, and when it is none."""
        try:
            event = _EVENT.decode(line)
            raw = bytes(event.object)
        except msgspec.DecodeError as error:
            raise ApiError(NONSENSE, f"not an event: {error}") from error
        if event.type == "ERROR":
            raise explain(raw)
        self._refusals = 0
        meta = _identity(raw)
        name = Name(meta.namespace, meta.name)
        changes: list[Change] = []
        if event.type in ("ADDED", "MODIFIED"):
            changes = self._put(name, raw)
        elif event.type == "DELETED":
            changes = self._settle(name, ())
        self._version = meta.resource_version or self._version
        return changes

    def failed(self, error: ApiError) -> None:
        """A request failed. What the server has forgotten, makes no sense, or is refused time and again starts anew."""
        if error.gone and not self._version:
            self._paged = False  # pages that expire while they are read: a whole list cannot
        if error.status not in (UNREACHABLE, 429):
            self._refusals += 1
            self._from_cache = False
        if error.status in (410, NONSENSE) or self._refusals >= PATIENCE:
            self.restart()

    def restart(self) -> None:
        """Begin with a list again."""
        self._version = self._continue = ""
        self._seen = set()
        self._refusals = 0

    def forget(self) -> list[Change]:
        """The kind itself is gone, and with it every object."""
        self.restart()
        return [change for name in self._known.keys() | self._problems.keys() for change in self._settle(name, ())]

    def _listed(self, raw: bytes) -> list[Change]:
        meta = _identity(raw)
        name = Name(meta.namespace, meta.name)
        self._seen.add(name)
        return self._put(name, raw)

    def _complete(self, version: str) -> list[Change]:
        """The list is at its end: what was not in it is gone."""
        gone = (self._known.keys() | self._problems.keys()) - self._seen
        self._version, self._seen, self._paged, self.synced = version, set(), True, True
        # A cache may be behind what is known by now: a later list is read from etcd.
        self._from_cache = False
        return [change for name in sorted(gone) for change in self._settle(name, ())]

    def _put(self, name: Name, raw: bytes) -> list[Change]:
        """An object is now so; one that cannot be used stays what it was."""
        where = self._where(name)
        found: Sequence[Keyed] | Problem = internal_error(where, where)
        with self._errors.guard("decode", where):
            found = self._collection.read(raw, where)
        return self._invalidate(name, found) if isinstance(found, Problem) else self._settle(name, tuple(found))

    def _invalidate(self, name: Name, problem: Problem) -> list[Change]:
        """An object cannot be used: its last good values stay, but for what is known to be otherwise now."""
        good = self._good.setdefault(name, self._known.get(name, ()))
        values: dict[Key, Keyed] = {value.key: value for value in (*good, *problem.beside)}
        changes = self._replace(name, tuple(values.values()))
        told, before = replace(problem, beside=()), self._problems.get(name)
        self._problems[name] = told
        return [*changes, told] if told != before else changes

    def _settle(self, name: Name, values: tuple[Keyed, ...]) -> list[Change]:
        """An object is as these values say, or gone when there are none."""
        self._good.pop(name, None)
        self._errors.forget("decode", self._where(name))
        changes = self._replace(name, values)
        if self._problems.pop(name, None):
            changes.append(Resolved(self._where(name)))
        return changes

    def _replace(self, name: Name, values: tuple[Keyed, ...]) -> list[Change]:
        """Put the values of one object in place of its old ones; says the difference."""
        old: dict[Key, Keyed] = {value.key: value for value in self._known.get(name, ())}
        new: dict[Key, Keyed] = {value.key: value for value in values}
        if values:
            self._known[name] = values
        else:
            self._known.pop(name, None)
        changes: list[Change] = [Delete(key) for key in old if key not in new]
        return changes + [Upsert(value) for key, value in new.items() if old.get(key) != value]

    def _where(self, name: Name) -> str:
        """An object's place, for its problem."""
        return "/".join(part for part in (self._collection.plural, name.namespace, name.name) if part)
