"""The condition of an XMesh (GEP-3949)."""

from agent.ir.plan import Condition, Output, ParentStatus
from agent.model.meta import CONTROLLER_NAME, Key
from agent.model.parameters import MESH_GROUP, XMesh
from agent.model.routes import ParentReference
from agent.store.store import TrackedView
from agent.translate.parameters import parameters_problem

ACCEPTED, INVALID_PARAMETERS = "Accepted", "InvalidParameters"
LAST_STAY = "nodes keep the last valid parameters that they have read"


def translate_mesh_status(view: TrackedView, key: Key) -> Output:
    """The status of one XMesh, with itself as the parent; none of other controllers' XMeshes."""
    mesh = view.get(XMesh, "", key.name)
    if mesh is None or mesh.spec.controller_name != CONTROLLER_NAME:
        return Output()
    problem, message = parameters_problem(view, mesh), f"weft, mesh {key.name}"
    if problem:
        message = f"{message}: {problem}; {LAST_STAY}"
    reason = INVALID_PARAMETERS if problem else ACCEPTED
    condition = Condition("Accepted", not problem, reason, message, mesh.metadata.generation)
    return Output(statuses={key: (ParentStatus(ParentReference(key.name, MESH_GROUP, key.kind), (condition,)),)})
