"""MeshParameters and XMeshes for tests, as documents and as values."""

from typing import Any

from agent.kube.decode import decode
from agent.model.meta import CONTROLLER_NAME
from agent.model.parameters import MeshParameters, XMesh

VERSION = "weft.dev/v1alpha1"
MESH_VERSION = "gateway.networking.x-k8s.io/v1alpha1"


def parameters_document(default: str = "", *exempt: str, name: str = "default", **spec: Any) -> dict[str, Any]:
    """MeshParameters with this default for authorization; without one the field is absent."""
    authorization = {"authorization": {"default": default, "exemptNamespaces": list(exempt)}} if default else {}
    return {
        "apiVersion": VERSION,
        "kind": "MeshParameters",
        "metadata": {"name": name, "generation": 1},
        "spec": {**authorization, **spec},
    }


def parameters(default: str = "", *exempt: str, name: str = "default", **spec: Any) -> MeshParameters:
    """The same, decoded."""
    (found,) = decode(parameters_document(default, *exempt, name=name, **spec), "here")
    assert isinstance(found, MeshParameters), found
    return found


def mesh_document(parameters: str = "", name: str = "weft", **reference: Any) -> dict[str, Any]:
    """An XMesh of weft with a reference to these MeshParameters; without a name it has none."""
    named = {"parametersRef": {"group": "weft.dev", "kind": "MeshParameters", "name": parameters} | reference}
    return {
        "apiVersion": MESH_VERSION,
        "kind": "XMesh",
        "metadata": {"name": name, "generation": 1},
        "spec": {"controllerName": CONTROLLER_NAME} | (named if parameters else {}),
    }


def mesh(parameters: str = "", name: str = "weft", **reference: Any) -> XMesh:
    """The same, decoded."""
    (found,) = decode(mesh_document(parameters, name, **reference), "here")
    assert isinstance(found, XMesh), found
    return found
