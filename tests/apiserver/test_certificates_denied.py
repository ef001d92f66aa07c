"""Requests that the signer weft.dev/spiffe denies, and those that wait, against a real API server."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.certificates.request import NODE_NAME
from agent.controller.certificate_requests import FOLDER
from agent.kube.client import MERGE_PATCH, ApiServer
from support.apiserver.certificate_requests import ask, decided, document, new_key, outcome, request_pem, signing, uri
from support.apiserver.manifests import account
from support.apiserver.process import Cluster
from support.apiserver.statuses import until
from support.apiserver.weft_nodes import NODES

KEY = new_key()
GOOD = request_pem(KEY, uri("shop", "web"))
NAME_FIELD = f"spec.extra[{NODE_NAME}]"
DENIED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a node asks for an account of another node": (
        "agent-n2",
        document("d", GOOD),
        f"{NAME_FIELD}: no pod of shop/web runs on node n2",
    ),
    "a node asks for an account whose pod has ended": (
        "agent-n1",
        document("d", request_pem(KEY, uri("shop", "done"))),
        f"{NAME_FIELD}: no pod of shop/done runs on node n1",
    ),
    "an agent's token without a node": ("agent", document("d", GOOD), f"{NAME_FIELD}: does not name the node"),
    "an account asks for another one": (
        "other",
        document("d", GOOD),
        "spec.username: 'system:serviceaccount:shop:other' is not the service account shop/web",
    ),
    "an administrator asks": ("admin", document("d", GOOD), "spec.username: 'admin' is not the service account"),
    "no name": ("agent-n1", document("d", request_pem(KEY)), "spec.request: must have exactly one"),
    "a name of the DNS": (
        "agent-n1",
        document("d", request_pem(KEY, x509.DNSName("web.shop"))),
        "spec.request: must have exactly one subject alternative name, a URI",
    ),
    "a further name": (
        "agent-n1",
        document("d", request_pem(KEY, uri("shop", "web"), x509.DNSName("web.shop"))),
        "spec.request: must have exactly one",
    ),
    "another trust domain": (
        "agent-n1",
        document("d", request_pem(KEY, uri("shop", "web", "example.org"))),
        "spec.request: example.org is not the trust domain of the mesh, 'cluster.local'",
    ),
    "a path that is no account": (
        "agent-n1",
        document("d", request_pem(KEY, x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/web/x"))),
        "spec.request: 'spiffe://cluster.local/ns/shop/sa/web/x' is not spiffe://TRUST-DOMAIN",
    ),
    "a selector in a name": (
        "agent-n1",
        document("d", request_pem(KEY, uri("shop", "x,spec.nodeName=n2"))),
        "spec.request: 'spiffe://cluster.local/ns/shop/sa/x,spec.nodeName=n2' is not spiffe://",
    ),
    "a usage of authorities": (
        "agent-n1",
        document("d", GOOD, ("cert sign", "client auth")),
        "spec.usages: 'cert sign' is none of",
    ),
    "no purpose": ("agent-n1", document("d", GOOD, ("digital signature",)), "spec.usages: must have client auth or"),
    "a weak key": (
        "agent-n1",
        document("d", request_pem(rsa.generate_private_key(65537, 1024), uri("shop", "web"))),
        "spec.request: has a key that is neither",
    ),
    "an unusual curve": (
        "agent-n1",
        document("d", request_pem(ec.generate_private_key(ec.SECP521R1()), uri("shop", "web"))),
        "spec.request: has a key that is neither",
    ),
    "a large request": (
        "agent-n1",
        document("d", request_pem(KEY, uri("shop", "web"), *[x509.DNSName(f"{n}.a") for n in range(2000)])),
        "spec.request: has ",
    ),
}


@pytest.fixture(scope="module")
def requesters(certificate_cluster: Cluster) -> dict[str, Path]:
    """A kubeconfig of each requester."""
    found = {f"agent-{node}": certificate_cluster.folder / f"kubeconfig-agent-{node}" for node in NODES}
    token = certificate_cluster.folder / "other-token"
    path = "/api/v1/namespaces/shop/serviceaccounts/other/token"
    token.write_text(certificate_cluster.request("POST", path, {"spec": {}})["status"]["token"])
    plain = account(certificate_cluster, "weft-agent", certificate_cluster.folder)
    return found | {
        "agent": plain,
        "other": certificate_cluster.kubeconfig("other", token=token),
        "admin": certificate_cluster.kubeconfig(),
    }


async def test_what_is_denied_is_named(certificate_cluster: Cluster, requesters: dict[str, Path]):
    found = {}
    async with signing(certificate_cluster) as controller:
        for number, (case, (who, made, _)) in enumerate(DENIED.items()):
            async with ApiServer(requesters[who], "weft-test") as api:
                found[case] = await ask(api, made | {"metadata": {"name": f"denied-{number}"}})
        outcomes = {case: await decided(certificate_cluster, name) for case, name in found.items()}
        assert {case: kind for case, (kind, _) in outcomes.items() if kind != "Denied"} == {}
        assert {
            case: outcomes[case][1] for case, (*_, message) in DENIED.items() if message not in outcomes[case][1]
        } == {}
        await until(lambda: controller.signer.waiting == 0)


async def test_the_approval_of_somebody_else_does_not_sign(certificate_cluster: Cluster, requesters: dict[str, Path]):
    async with ApiServer(requesters["other"], "weft-test") as api:
        name = await ask(api, document("approved", GOOD))
    condition = {"type": "Approved", "status": "True", "reason": "ByHand", "message": "please"}
    path = f"{FOLDER}/{name}/approval"
    certificate_cluster.request("PATCH", path, {"status": {"conditions": [condition]}}, MERGE_PATCH)
    async with signing(certificate_cluster):
        kind, message = await decided(certificate_cluster, name)
    assert (kind, "spec.username" in message) == ("Failed", True)


async def test_a_requester_with_many_requests_does_not_keep_others_waiting(
    certificate_cluster: Cluster, requesters: dict[str, Path], web: ApiServer
):
    """The requests of `other` are there first, and come first by name."""
    async with ApiServer(requesters["other"], "weft-test") as api:
        many = [await ask(api, document(f"a-many-{number:03}", GOOD)) for number in range(60)]
    own = await ask(web, document("z-own", GOOD))
    async with signing(certificate_cluster):
        assert (await decided(certificate_cluster, own))[0] == "Issued"
        await until(lambda: all(outcome(certificate_cluster, name)[0] == "Denied" for name in many))
    # The versions of all objects are those of one store.
    before = [name for name in many if version(certificate_cluster, name) < version(certificate_cluster, own)]
    assert len(before) < len(many) / 2


def version(cluster: Cluster, name: str) -> int:
    return int(cluster.request("GET", f"{FOLDER}/{name}")["metadata"]["resourceVersion"])
