"""Keeps the last MeshParameters that were in force, so that their deletion opens no pod, not even after a restart."""

import logging
from pathlib import Path

import msgspec

from agent import atomic_file
from agent.kube.decode import decode_json
from agent.kube.undecodable_facts import facts_json
from agent.kube.undecodable_parameters import STRICTEST
from agent.model.change import Change, Problem, Upsert
from agent.model.meta import ObjectMeta
from agent.model.parameters import KIND, LastMeshParameters, MeshParameters, UndecodableMeshParameters
from agent.store.store import Store, TrackedView
from agent.translate.parameters import mesh_parameters

log = logging.getLogger(__name__)


class LastParameters:
    """The fact `LastMeshParameters`, in a file of the state folder: it is lost with the node's tmpfs."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store = store
        self._file = file
        self._last: LastMeshParameters | None = None
        self._written = True

    def read(self) -> list[Change]:
        """What an earlier agent left. Of a file that cannot be decoded, such as one of a later version, each field that
        cannot be has its strictest value.
        """
        try:
            raw = self._file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError:
            raw = b""
        found = decode_json(raw, KIND, str(self._file))
        if isinstance(found, Problem):
            log.warning("last mesh parameters cannot be decoded, using the strictest", extra={"problem": str(found)})
            found = _strictest(raw, found)
        assert isinstance(found, MeshParameters)
        self._last = LastMeshParameters(found)
        return [Upsert(self._last)]

    def keep(self) -> list[Change]:
        """Keep the parameters that are in force now. Only those of an object are kept: what an undecodable object or no
        object stands for is not. A file that cannot be written is written the next time.
        """
        view = TrackedView(self._store)
        found = mesh_parameters(view)
        changed = self._last is None or found != self._last.parameters
        if changed and view.get(MeshParameters, "", found.metadata.name) == found:
            self._last, self._written = LastMeshParameters(found), False
        if self._written or self._last is None:
            return []
        try:
            self._write(self._last.parameters)
        except OSError as error:
            log.warning("last mesh parameters not written, trying again", extra={"error": str(error)})
        return [Upsert(self._last)]

    def _write(self, parameters: MeshParameters) -> None:
        atomic_file.replace(self._file, msgspec.json.encode(parameters))
        self._written = True


def _strictest(raw: bytes, problem: Problem) -> MeshParameters:
    for fact in facts_json(raw, KIND, problem):
        if isinstance(fact, UndecodableMeshParameters):
            return MeshParameters(ObjectMeta(fact.parameters.name, generation=fact.generation), fact.spec)
    return MeshParameters(ObjectMeta("unknown"), STRICTEST)
