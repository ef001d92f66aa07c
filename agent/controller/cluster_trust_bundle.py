"""The trust bundle as a ClusterTrustBundle (certificates.k8s.io/v1beta1), which pods can mount, where that is served.

Beta since Kubernetes 1.33, and off by default.
"""

from http import HTTPStatus

import msgspec

from agent.certificates.request import SIGNER
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.definitions import resources
from agent.kube.errors import ApiError
from agent.model.meta import Value

VERSION = "certificates.k8s.io/v1beta1"
PLURAL = "clustertrustbundles"
FOLDER = f"/apis/{VERSION}/{PLURAL}"
# The API server asks for the signer's name in front.
NAME = f"{SIGNER.replace('/', ':')}:weft"


class _Spec(Value, frozen=True):
    trust_bundle: str = ""


class _Stored(Value, frozen=True):
    spec: _Spec = _Spec()


async def publish(api: ApiServer, bundle: str) -> None:
    """Write the bundle where it differs, and where the kind is served. Raises `ApiError`, `msgspec.DecodeError`."""
    try:
        stored = msgspec.json.decode(await api.get(f"{FOLDER}/{NAME}"), type=_Stored)
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        if await _is_served(api):
            await api.send("POST", FOLDER, _object(bundle))
        return
    if stored.spec.trust_bundle != bundle:
        await api.send("PATCH", f"{FOLDER}/{NAME}", {"spec": {"trustBundle": bundle}}, MERGE_PATCH)


async def _is_served(api: ApiServer) -> bool:
    try:
        return PLURAL in resources(await api.get(f"/apis/{VERSION}"))
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return False


def _object(bundle: str) -> dict[str, object]:
    metadata = {"name": NAME, "labels": {"app.kubernetes.io/part-of": "weft"}}
    spec = {"signerName": SIGNER, "trustBundle": bundle}
    return {"apiVersion": VERSION, "kind": "ClusterTrustBundle", "metadata": metadata, "spec": spec}
