"""The signer weft.dev/spiffe against a real API server, with the permissions that its component gives."""

import datetime
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.controller.certificate_requests import FOLDER
from agent.kube.client import MERGE_PATCH, ApiServer
from agent.kube.errors import ApiError
from support.apiserver.certificate_requests import (
    BUNDLE,
    SECRET,
    ask,
    decided,
    document,
    new_key,
    outcome,
    request_pem,
    roots,
    signer,
    signing,
    uri,
)
from support.apiserver.process import Cluster
from support.apiserver.statuses import until

KEY = new_key()
GOOD = request_pem(KEY, uri("shop", "web"))


@pytest.fixture
async def agent(certificate_cluster: Cluster) -> AsyncIterator[ApiServer]:
    """The agent of node n1."""
    async with ApiServer(certificate_cluster.folder / "kubeconfig-agent-n1", "weft-test") as api:
        yield api


async def test_a_pod_gets_a_certificate_of_its_own_account(certificate_cluster: Cluster, web: ApiServer):
    async with signing(certificate_cluster) as controller:
        spec = {"expirationSeconds": 7200}
        name = await ask(web, document("own", request_pem(KEY, uri("shop", "web")), **spec))
        kind, pem = await decided(certificate_cluster, name)
        assert kind == "Issued", pem
        await until(lambda: controller.signer.waiting == 0)
        assert 'weft_certificate_requests_total{outcome="issued"} 1.0' in controller.metrics.render()
        # Whoever checks it may read the bundle, and nobody the key.
        assert (
            json.loads(await web.get(BUNDLE))["data"]["ca.crt"]
            == certificate_cluster.request("GET", BUNDLE)["data"]["ca.crt"]
        )
        with pytest.raises(ApiError) as caught:
            await web.get(SECRET)
        assert caught.value.status == 403
    certificate, bundle = x509.load_pem_x509_certificate(pem.encode()), roots(certificate_cluster)
    assert signer(pem, bundle) == 0
    assert len(bundle) == 1
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [uri("shop", "web")]
    assert (names.critical, certificate.subject.rdns) == (True, [])
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, False, False)
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life == datetime.timedelta(seconds=7200 + 300)
    root = bundle[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(root) == [x509.UniformResourceIdentifier("spiffe://cluster.local")]


@pytest.mark.parametrize(
    ("key", "seconds", "life"),
    [
        (ec.generate_private_key(ec.SECP384R1()), None, 3600),
        (ed25519.Ed25519PrivateKey.generate(), 600, 600),
        (rsa.generate_private_key(65537, 2048), 10**6, 86_400),
    ],
    ids=["P-384, no life", "Ed25519, a short life", "RSA, a long life"],
)
async def test_a_node_gets_a_certificate_of_an_account_of_its_pods(
    certificate_cluster: Cluster,
    agent: ApiServer,
    request: pytest.FixtureRequest,
    key: Any,
    seconds: int | None,
    life: int,
):
    spec = {} if seconds is None else {"expirationSeconds": seconds}
    usages = ("digital signature", "key encipherment", "client auth")
    async with signing(certificate_cluster):
        made = document("node-" + type(key).__name__.lower(), request_pem(key, uri("shop", "web")), usages, **spec)
        kind, pem = await decided(certificate_cluster, await ask(agent, made))
    assert kind == "Issued", pem
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.public_key() == key.public_key()
    expected = datetime.timedelta(seconds=life + 300)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == expected
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    encipherment = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    assert encipherment == isinstance(key, rsa.RSAPrivateKey)


async def test_requests_of_other_signers_are_left_alone(certificate_cluster: Cluster, agent: ApiServer, web: ApiServer):
    async with signing(certificate_cluster):
        made = document("foreign", GOOD, signerName="example.org/signer")
        foreign, own = await ask(agent, made), await ask(agent, document("beside", GOOD))
        assert (await decided(certificate_cluster, own))[0] == "Issued"
        assert outcome(certificate_cluster, foreign) == ("", "")


async def test_the_controller_reads_one_secret_and_no_agent_any(certificate_cluster: Cluster, agent: ApiServer):
    async with signing(certificate_cluster):
        await until(lambda: roots(certificate_cluster))
    other = {"metadata": {"name": "other", "namespace": "weft-system"}, "data": {}}
    certificate_cluster.request("POST", "/api/v1/namespaces/weft-system/secrets", other)
    async with ApiServer(certificate_cluster.folder / "kubeconfig-weft-controller", "weft-test") as controller:
        assert json.loads(await controller.get(SECRET))["data"].keys() == {"ca-1.crt", "ca-1.key"}
        for api, path in (
            (controller, "/api/v1/namespaces/weft-system/secrets/other"),
            (controller, "/api/v1/namespaces/weft-system/secrets"),
            (controller, "/api/v1/secrets"),
            (agent, SECRET),
        ):
            with pytest.raises(ApiError) as caught:
                await api.get(path)
            assert caught.value.status == 403
        # It signs for no other signer.
        made = await ask(agent, document("other-signer", GOOD, signerName="kubernetes.io/kube-apiserver-client"))
        condition = {"type": "Approved", "status": "True", "reason": "X", "message": ""}
        patch = {"status": {"conditions": [condition]}}
        with pytest.raises(ApiError) as caught:
            await controller.send("PATCH", f"{FOLDER}/{made}/approval", patch, MERGE_PATCH)
        assert caught.value.status == 403
