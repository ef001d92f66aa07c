"""The XMesh of this installation (GEP-3949): the resource by which a mesh says that it is there and what it can do."""

from agent.controller.merge import Json, merge_conditions
from agent.controller.stored import MESH, MESH_VERSION, Stored
from agent.ir.plan import Condition
from agent.model.meta import CONTROLLER_NAME
from agent.translate.filters.registry import HTTP_FILTERS

# What conformance tests of the Gateway API ask for by name, besides what is said of filters. The names without Mesh are
# those that mesh tests ask for too, and those of retries, which only tests of gateways ask for (since v1.7 by these
# names).
_OTHERS = (
    "GRPCRoute",
    "HTTPRoute",
    "HTTPRouteParentRefPort",
    "HTTPRouteRetryCodes",
    "HTTPRouteRetryConnectionError",
    "Mesh",
    "MeshClusterIPMatching",
    "MeshConsumerRoute",
    "MeshHTTPRouteNamedRouteRule",
    "MeshHTTPRouteQueryParamMatching",
)
# Sorted as the API demands.
FEATURES = tuple(sorted([*_OTHERS, *(name for item in HTTP_FILTERS for name in item.features)]))


def new_mesh(name: str) -> Json:
    """The XMesh to create where there is none. Its spec is never touched again: it is its owner's."""
    return {
        "apiVersion": MESH_VERSION,
        "kind": MESH,
        "metadata": {"name": name},
        "spec": {"controllerName": CONTROLLER_NAME},
    }


def mesh_status(stored: Stored, now: str) -> Json:
    """The status of an XMesh that names us; equal to the stored one when there is nothing to do."""
    status = stored.status
    conditions = merge_conditions(status.conditions, [_accepted(stored)], frozenset({"Accepted"}), now)
    return {"conditions": conditions, "supportedFeatures": [{"name": name} for name in FEATURES]}


def _accepted(stored: Stored) -> Condition:
    generation = stored.metadata.generation
    if stored.spec.parameters_ref is not None:
        message = f"weft, mesh {stored.metadata.name}: spec.parametersRef: weft takes no parameters"
        return Condition("Accepted", False, "InvalidParameters", message, generation)
    return Condition("Accepted", True, "Accepted", f"weft, mesh {stored.metadata.name}", generation)
