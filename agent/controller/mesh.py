"""The XMesh of this installation (GEP-3949): the object that names a mesh and its features."""

from agent.controller.encryption import ENCRYPTED
from agent.controller.merge import Json, merge_conditions
from agent.controller.stored import MESH, MESH_VERSION, Status
from agent.ir.plan import ParentStatus
from agent.model.meta import CONTROLLER_NAME
from agent.translate.filters.registry import HTTP_FILTERS

# Features that conformance tests of the Gateway API know by name, besides those of filters. Mesh tests also need the
# names without Mesh. The names of retries are of gateway tests (since v1.7).
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
# Sorted, as the API requires.
FEATURES = tuple(sorted([*_OTHERS, *(name for item in HTTP_FILTERS for name in item.features)]))


def new_mesh(name: str) -> Json:
    """The XMesh to create. Its spec is not changed later: it belongs to the user."""
    return {
        "apiVersion": MESH_VERSION,
        "kind": MESH,
        "metadata": {"name": name},
        "spec": {"controllerName": CONTROLLER_NAME},
    }


def mesh_status(stored: Status, wanted: ParentStatus, now: str) -> Json:
    """The status of an XMesh with our controllerName; equal to the stored one when nothing has to change."""
    conditions = merge_conditions(stored.conditions, wanted.conditions, frozenset({"Accepted", ENCRYPTED}), now)
    return {"conditions": conditions, "supportedFeatures": [{"name": name} for name in FEATURES]}
