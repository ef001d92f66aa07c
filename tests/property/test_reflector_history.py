"""Whatever happens between a reflector and its server, in the end the reflector knows what the server has."""

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.kube.collection import collection
from agent.kube.errors import UNREACHABLE, ApiError
from agent.kube.reflector import Reflector
from agent.model.change import Change, Delete, Keyed, Problem, Resolved, Upsert
from agent.model.meta import Key

PAGE = 2


@dataclass
class Server:
    """A collection with its history; a version that was compacted away is gone."""

    version: int = 1
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    oldest: int = 0
    snapshots: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def change(self, name: str, ports: Any) -> None:
        """Put a Service with these ports, or delete it when there are none."""
        self.version += 1
        if ports is None and name not in self.objects:
            return
        known = name in self.objects
        meta = {"name": name, "namespace": "a", "resourceVersion": str(self.version)}
        what = "DELETED" if ports is None else "MODIFIED" if known else "ADDED"
        value = {"metadata": meta, "spec": {"ports": ports or []}}
        self.objects[name] = value
        if ports is None:
            del self.objects[name]
        self.history.append((self.version, {"type": what, "object": value}))

    def compact(self) -> None:
        """Forget the past, and every list that is being read."""
        self.oldest = self.version
        self.snapshots.clear()

    def page(self, limit: int | None, token: str) -> dict[str, Any]:
        if token and token not in self.snapshots:
            raise ApiError(410, "continue token expired")
        items = self.snapshots.pop(token) if token else [self.objects[name] for name in sorted(self.objects)]
        version = token.partition("-")[0] or str(self.version)
        rest = "" if limit is None or len(items) <= limit else f"{version}-{len(items)}-{len(self.snapshots)}"
        if rest:
            self.snapshots[rest] = items[limit:]
        return {"metadata": {"resourceVersion": version, "continue": rest}, "items": items[:limit] if rest else items}

    def watch(self, version: int) -> list[dict[str, Any]]:
        if version < self.oldest:
            return [{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}]
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}}
        return [event for at, event in self.history if at > version] + [bookmark]


class Listener:
    """Takes in changes strictly: nothing is deleted that was not there, nothing is said twice."""

    def __init__(self) -> None:
        self.values: dict[Key, Keyed] = {}
        self.problems: dict[str, Problem] = {}

    def take(self, changes: list[Change]) -> None:
        for change in changes:
            match change:
                case Upsert(value):
                    assert self.values.get(value.key) != value
                    self.values[value.key] = value
                case Delete(key):
                    del self.values[key]
                case Problem(where):
                    assert self.problems.get(where) != change
                    self.problems[where] = change
                case Resolved(where):
                    del self.problems[where]


def ask(reflector: Reflector, server: Server, listener: Listener, most: int) -> None:
    """One request, of whose answer at most so many events arrive before the connection breaks."""
    request = reflector.request()
    try:
        if not request.watch:
            limit = PAGE if "limit" in request.query else None
            listener.take(reflector.page(json.dumps(server.page(limit, request.query.get("continue", ""))).encode()))
            return
        events = server.watch(int(request.query["resourceVersion"]))
        for event in events[:most]:
            listener.take(reflector.event(json.dumps(event).encode()))
        if most < len(events):
            raise ApiError(UNREACHABLE, "connection lost")
    except ApiError as error:
        reflector.failed(error)


GOOD = [{"port": 80}]
BAD = [{"port": "http"}]
steps = st.one_of(
    st.tuples(st.just("change"), st.sampled_from("abcde"), st.sampled_from([GOOD, [{"port": 81}], BAD, None])),
    st.tuples(st.just("ask"), st.integers(0, 3)),
    st.tuples(st.just("compact")),
    st.tuples(st.just("fail"), st.sampled_from([UNREACHABLE, 410, 429, 500, 504])),
)


@given(st.lists(steps, max_size=60))
def test_in_the_end_it_knows_what_the_server_has(history):
    server, reflector, listener = Server(), Reflector(collection("Service")), Listener()
    for what, *more in history:
        if what == "change":
            server.change(*more)
        elif what == "ask":
            ask(reflector, server, listener, *more)
        elif what == "compact":
            server.compact()
        else:
            reflector.failed(ApiError(*more, "as told"))
    for _ in range(20):
        ask(reflector, server, listener, 1000)
    broken = {name for name, value in server.objects.items() if value["spec"]["ports"] == BAD}
    known = {key.name: value.spec.ports[0].port for key, value in listener.values.items()}  # type: ignore[attr-defined]
    good = {name: value["spec"]["ports"][0]["port"] for name, value in server.objects.items() if name not in broken}
    # Of a broken object the last good version stays, if there was one.
    assert {name: port for name, port in known.items() if name not in broken} == good
    assert known.keys() <= server.objects.keys()
    assert set(listener.problems) == {f"services/a/{name}" for name in broken}
    assert reflector.objects == len(known)
    assert reflector.synced
