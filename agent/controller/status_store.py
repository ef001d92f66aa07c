"""Stored and desired statuses, and the writes that bring the stored ones up to date. Pure: no I/O, no waiting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.controller.encryption import encryption_condition
from agent.controller.merge import ANCESTORS, PARENTS, Json, StatusList, merge_entries
from agent.controller.mesh import mesh_status, new_mesh
from agent.controller.node_reports import NodeReports
from agent.controller.programmed import with_programmed
from agent.controller.stored import MESH, MESH_VERSION, POLICIES, ROUTES, Stored, decode_stored
from agent.ir.plan import Output, ParentStatus
from agent.model.change import Change, Delete, Upsert
from agent.model.meta import CONTROLLER_NAME, Key
from agent.model.parameters import MeshEncryption
from agent.model.routes import ParentReference


@dataclass(frozen=True, slots=True)
class Write:
    """A request that creates an object, or that patches one at a given resourceVersion."""

    method: str
    path: str
    body: Mapping[str, Any]


class StatusStore:
    """Every object that the controller may write to, by key."""

    def __init__(
        self,
        mesh: str,
        reports: NodeReports | None = None,
        encryption: Callable[[], MeshEncryption] = lambda: MeshEncryption("Off"),
    ) -> None:
        """`mesh` is the name of this installation's XMesh; `reports` are what nodes report; `encryption` is what
        MeshParameters ask of them.
        """
        self._reports = reports or NodeReports()
        self._encryption = encryption
        self._own_mesh = Key(MESH, "", mesh)
        self._stored: dict[Key, Stored] = {}
        self._desired: dict[Key, tuple[ParentStatus, ...]] = {}
        self.meshes_known = False

    @property
    def own_mesh(self) -> Key:
        """This installation's XMesh; it may not exist."""
        return self._own_mesh

    @property
    def ancestor(self) -> ParentReference | None:
        """The ancestor in the statuses of policies: this installation's XMesh. Without one it is their namespace."""
        found = self._stored.get(self._own_mesh)
        ours = found is not None and found.spec.controller_name == CONTROLLER_NAME
        return ParentReference(self._own_mesh.name, MESH_VERSION.partition("/")[0], MESH) if ours else None

    @property
    def policies(self) -> set[Key]:
        """Every policy that may be written to."""
        return {target for target in self._stored if target.kind in POLICIES}

    @property
    def targets(self) -> set[Key]:
        """Every object that may be written to."""
        return {*self._stored, self._own_mesh}

    def update(self, change: Change) -> Key | None:
        """Apply a change of a stored object. Returns the object's key; None for other changes."""
        if isinstance(change, Upsert) and isinstance(change.value, Stored):
            return self.store(change.value)
        if isinstance(change, Delete) and change.key.kind.startswith("Stored"):
            target = Key(change.key.kind.removeprefix("Stored"), change.key.namespace, change.key.name)
            self._stored.pop(target, None)
            return target
        return None

    def store(self, value: Stored) -> Key:
        """Store an object's state, unless a later one is known."""
        if value.newer_than(self._stored.get(value.target)):
            self._stored[value.target] = value
        return value.target

    def update_from_response(self, raw: bytes) -> None:
        """Store an object's state from the server's response. Raises `msgspec.DecodeError`."""
        self.store(decode_stored(raw))

    def forget(self, target: Key) -> None:
        """The API server answered that the object does not exist."""
        self._stored.pop(target, None)

    def set_desired(self, outputs: Sequence[tuple[Output, Output]]) -> set[Key]:
        """Set the statuses of changed outputs. Returns the objects concerned."""
        changed: set[Key] = set()
        for old, new in outputs:
            changed |= old.statuses.keys() | new.statuses.keys()
            for key in old.statuses.keys() - new.statuses.keys():
                self._desired.pop(key, None)
            self._desired.update(new.statuses)
        return changed

    def path(self, target: Key) -> str | None:
        """An object's path; None if the object is not known."""
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
        wanted = self._reports.with_rejections(target, self._desired.get(target, ()))
        if kind is ANCESTORS:
            wanted = with_programmed(self._reports.policies, target, wanted, stored)
        if kind is ANCESTORS and (ancestor := self.ancestor) is not None:
            wanted = tuple(replace(status, parent_ref=ancestor) for status in wanted)
        merged = merge_entries(kind, stored, wanted, now)
        return None if merged == stored else _patch(found, {kind.name: merged})

    def _mesh(self, found: Stored, now: str) -> Write | None:
        if not (desired := self._desired.get(found.target)):
            return None
        status = found.status
        more = encryption_condition(self._encryption(), self._reports.tunnels, found.metadata.generation)
        accepted = desired[0] if more is None else replace(desired[0], conditions=(*desired[0].conditions, more))
        wanted = mesh_status(status, accepted, now)
        same = {"conditions": status.conditions, "supportedFeatures": status.supported_features} == wanted
        return None if same else _patch(found, wanted)


def _entries(found: Stored) -> tuple[StatusList, list[Any]]:
    """The entries in an object's status: the parents of a Route, the ancestors of a policy."""
    if found.kind in ROUTES:
        return PARENTS, found.status.parents or []
    return ANCESTORS, found.status.ancestors or []


def _patch(found: Stored, status: Json) -> Write:
    """A merge patch whose precondition is the resourceVersion: it fails after any other write."""
    body = {"metadata": {"resourceVersion": found.metadata.resource_version}, "status": status}
    return Write("PATCH", f"{found.path}/status", body)
