"""Which MeshParameters are in force: those that the XMesh names, while they are there and valid, else the last ones."""

from typing import NamedTuple

from agent.model.meta import CONTROLLER_NAME, ObjectMeta
from agent.model.parameters import (
    DEFAULT_NAME,
    KIND,
    LastMeshParameters,
    MeshParameters,
    ParametersReference,
    UndecodableMeshParameters,
    XMesh,
)
from agent.store.store import TrackedView

BUILT_IN = MeshParameters(ObjectMeta(""))


class InForce(NamedTuple):
    """Parameters, and why they are not those of the object that the mesh names; empty where they are.

    Without any object they are `BUILT_IN`.
    """

    parameters: MeshParameters
    problem: str = ""


def mesh_parameters(view: TrackedView) -> MeshParameters:
    """The parameters in force."""
    return view.memo(("mesh-parameters",), parameters_in_force).parameters


def parameters_in_force(view: TrackedView) -> InForce:
    """The same, and what is wrong with the object that the mesh names."""
    mesh = weft_mesh(view)
    problem, named = parameters_problem(view, mesh), _named(mesh)
    found = view.get(MeshParameters, "", named) if named else None
    if found is not None:
        return InForce(found, problem)
    last = view.get(LastMeshParameters, "", "")
    if last is not None:
        return InForce(last.parameters, problem or f"{KIND} {named} does not exist")
    undecodable = view.get(UndecodableMeshParameters, "", named) if named else None
    if undecodable is not None:
        meta = ObjectMeta(named, generation=undecodable.generation)
        return InForce(MeshParameters(meta, undecodable.spec), problem)
    return InForce(BUILT_IN, problem)


def parameters_problem(view: TrackedView, mesh: XMesh | None) -> str:
    """Why the parameters that a mesh names cannot be used; empty where they can, or where it names none."""
    reference = mesh.spec.parameters_ref if mesh else None
    if reference is not None and not reference.supported:
        return f"spec.parametersRef: {_text(reference)} is no cluster-scoped {KIND} of weft.dev"
    named = reference.name if reference else DEFAULT_NAME
    undecodable = view.get(UndecodableMeshParameters, "", named)
    if undecodable is not None:
        return f"{KIND} {named}: {undecodable.field}: {undecodable.message}"
    missing = reference is not None and view.get(MeshParameters, "", named) is None
    return f"spec.parametersRef: {KIND} {named} does not exist" if missing else ""


def weft_mesh(view: TrackedView) -> XMesh | None:
    """The oldest XMesh of this controller."""
    ours = [mesh for mesh in view.listed(XMesh) if mesh.spec.controller_name == CONTROLLER_NAME]
    return min(ours, key=lambda mesh: mesh.age, default=None)


def _named(mesh: XMesh | None) -> str:
    """The MeshParameters that apply: `default` without a reference; empty for a reference to another kind."""
    if mesh is None or mesh.spec.parameters_ref is None:
        return DEFAULT_NAME
    return mesh.spec.parameters_ref.name if mesh.spec.parameters_ref.supported else ""


def _text(reference: ParametersReference) -> str:
    kind = f"{reference.kind}.{reference.group}" if reference.group else reference.kind
    return f"{kind} {reference.namespace}/{reference.name}" if reference.namespace else f"{kind} {reference.name}"
