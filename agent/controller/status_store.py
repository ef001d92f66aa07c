"""Stored and desired statuses, and the writes that bring the stored ones up to date. Pure: no I/O, no waiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.controller.merge import ANCESTORS, PARENTS, Json, StatusList, merge_entries
from agent.controller.mesh import mesh_status, new_mesh
from agent.controller.node_reports import NodeReports
from agent.controller.stored import MESH, MESH_VERSION, ROUTES, Stored, decode_stored
from agent.ir.plan import Fragment, ParentStatus
from agent.model.change import Change, Delete, Upsert
from agent.model.meta import CONTROLLER_NAME, Key


@dataclass(frozen=True, slots=True)
class Write:
    """One request that changes something: a new object, or a part of one that is still at a version."""

    method: str
    path: str
    body: Mapping[str, Any]


class StatusStore:
    """Every object that the controller may write to, by key."""

    def __init__(self, mesh: str, reports: NodeReports | None = None) -> None:
        """`mesh` is the name of this installation's XMesh; `reports` are the nodes' reports about Routes."""
        self._reports = reports or NodeReports()
        self._own_mesh = Key(MESH, "", mesh)
        self._stored: dict[Key, Stored] = {}
        self._wanted: dict[Key, tuple[ParentStatus, ...]] = {}
        self.meshes_known = False

    @property
    def own_mesh(self) -> Key:
        """This installation's XMesh, there or not."""
        return self._own_mesh

    @property
    def targets(self) -> set[Key]:
        """Every object that may be written to."""
        return {*self._stored, self._own_mesh}

    def take(self, change: Change) -> Key | None:
        """Take a change of a stored object; returns the object's key, None for a change of anything else."""
        if isinstance(change, Upsert) and isinstance(change.value, Stored):
            return self.store(change.value)
        if isinstance(change, Delete) and change.key.kind.startswith("Stored"):
            target = Key(change.key.kind.removeprefix("Stored"), change.key.namespace, change.key.name)
            self._stored.pop(target, None)
            return target
        return None

    def store(self, value: Stored) -> Key:
        """Note an object's state, unless a later one is known."""
        if value.newer_than(self._stored.get(value.target)):
            self._stored[value.target] = value
        return value.target

    def absorb(self, raw: bytes) -> None:
        """Note an object's state as the server answered it. Raises `msgspec.DecodeError`."""
        self.store(decode_stored(raw))

    def forget(self, target: Key) -> None:
        """The API server answered that the object does not exist."""
        self._stored.pop(target, None)

    def want(self, fragments: Sequence[tuple[Fragment, Fragment]]) -> set[Key]:
        """Take in what translation changed; returns the objects concerned."""
        changed: set[Key] = set()
        for old, new in fragments:
            changed |= old.statuses.keys() | new.statuses.keys()
            for key in old.statuses.keys() - new.statuses.keys():
                self._wanted.pop(key, None)
            self._wanted.update(new.statuses)
        return changed

    def path(self, target: Key) -> str | None:
        """Where an object is, None when there is none."""
        found = self._stored.get(target)
        return found.path if found else None

    def foreign_owner(self) -> str:
        """The controllerName of an XMesh with our name that belongs to another controller; it is not written."""
        found = self._stored.get(self._own_mesh)
        return found.spec.controller_name if found and found.spec.controller_name != CONTROLLER_NAME else ""

    def write(self, target: Key, now: str) -> Write | None:
        """The write that an object needs, None when it is up to date. `now` is RFC 3339 in UTC."""
        found = self._stored.get(target)
        if found is None:
            missing = target == self._own_mesh and self.meshes_known
            return Write("POST", f"/apis/{MESH_VERSION}/xmeshes", new_mesh(target.name)) if missing else None
        if found.kind == MESH:
            return self._mesh(found, now)
        kind, stored = _entries(found)
        wanted = self._reports.added(target, self._wanted.get(target, ()))
        merged = merge_entries(kind, stored, wanted, now)
        return None if merged == stored else _patch(found, {kind.name: merged})

    @staticmethod
    def _mesh(found: Stored, now: str) -> Write | None:
        if found.spec.controller_name != CONTROLLER_NAME:
            return None
        status = found.status
        wanted = mesh_status(found, now)
        same = {"conditions": status.conditions, "supportedFeatures": status.supported_features} == wanted
        return None if same else _patch(found, wanted)


def _entries(found: Stored) -> tuple[StatusList, list[Any]]:
    """What of an object's status has entries: of Routes the parents, of policies the ancestors."""
    if found.kind in ROUTES:
        return PARENTS, found.status.parents or []
    return ANCESTORS, found.status.ancestors or []


def _patch(found: Stored, status: Json) -> Write:
    """A merge patch whose precondition is the resourceVersion: it fails after any other write."""
    body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "status": status}
    return Write("PATCH", f"{found.path}/status", body)
