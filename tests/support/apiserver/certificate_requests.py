"""Requests of weft's signer at a real API server, and the certificates that come of them."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from agent.certificates.request import SIGNER
from agent.controller.certificate_requests import FOLDER
from agent.controller.run import Controller
from agent.kube.client import MERGE_PATCH, ApiServer
from support.apiserver.controller import running
from support.apiserver.manifests import apply_all
from support.apiserver.process import Cluster
from support.apiserver.statuses import until

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
BOTH = ("digital signature", "client auth", "server auth")
BUNDLE = "/api/v1/namespaces/weft-system/configmaps/weft-trust-bundle"
SECRET = "/api/v1/namespaces/weft-system/secrets/weft-ca"


def uri(namespace: str, account: str, domain: str = "cluster.local") -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"spiffe://{domain}/ns/{namespace}/sa/{account}")


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_pem(key: Key, *names: x509.GeneralName, algorithm: hashes.HashAlgorithm | None = None) -> bytes:
    """A PKCS #10 request with these names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    chosen = None if isinstance(key, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA256()
    return builder.sign(key, chosen).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def document(name: str, pem: bytes, usages: tuple[str, ...] = BOTH, **spec: Any) -> dict[str, Any]:
    """A CertificateSigningRequest."""
    made = {"request": base64.b64encode(pem).decode(), "signerName": SIGNER, "usages": list(usages), **spec}
    meta = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name}}
    return meta | {"spec": made}


async def ask(api: ApiServer, made: dict[str, Any]) -> str:
    """Create a request; returns its name."""
    return str(json.loads(await api.send("POST", FOLDER, made))["metadata"]["name"])


def outcome(cluster: Cluster, name: str) -> tuple[str, str]:
    """The type and message of the last condition; `Issued` and the certificate in PEM where there is one."""
    status = cluster.request("GET", f"{FOLDER}/{name}")["status"]
    if "certificate" in status:
        return "Issued", base64.b64decode(status["certificate"]).decode()
    conditions = status.get("conditions") or [{"type": "", "message": ""}]
    return conditions[-1]["type"], conditions[-1].get("message", "")


def roots(cluster: Cluster) -> list[x509.Certificate]:
    """The trust bundle."""
    return x509.load_pem_x509_certificates(cluster.request("GET", BUNDLE)["data"]["ca.crt"].encode())


def signer(pem: str, bundle: list[x509.Certificate]) -> int:
    """The index of the root that has signed a certificate. Raises `StopIteration` where there is none."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    return next(index for index, root in enumerate(bundle) if _signed(certificate, root))


def _signed(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except Exception:
        return False
    return True


def bind(cluster: Cluster, name: str, subject: dict[str, str]) -> None:
    """Let somebody make requests, as an administrator does."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "weft-certificate-requester"}
    meta = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}}
    apply_all(cluster, [meta | {"roleRef": role, "subjects": [subject]}])


def run_account(cluster: Cluster, space: str, name: str, node: str, phase: str = "Running") -> None:
    """A pod with a service account on a node."""
    spec = {"serviceAccountName": name, "nodeName": node, "containers": [{"name": "c", "image": "i"}]}
    path = f"/api/v1/namespaces/{space}/pods"
    cluster.request("POST", path, {"metadata": {"name": f"{name}-{node}"}, "spec": spec})
    cluster.request("PATCH", f"{path}/{name}-{node}/status", {"status": {"phase": phase}}, MERGE_PATCH)


@asynccontextmanager
async def signing(cluster: Cluster, lease: str = "weft-controller", identity: str = "a") -> AsyncIterator[Controller]:
    """A replica that signs, with the permissions of the component."""
    kubeconfig = cluster.folder / "kubeconfig-weft-controller"
    async with running(kubeconfig, lease, identity, "weft-system", certificates=True) as controller:
        yield controller


async def decided(cluster: Cluster, name: str) -> tuple[str, str]:
    """The outcome of a request, once there is one."""
    await until(lambda: outcome(cluster, name)[0] in ("Issued", "Denied", "Failed"))
    return outcome(cluster, name)
