"""The authorities of the signer weft.dev/spiffe against a real API server: their keys, rotation, what breaks them."""

import asyncio
import base64
import tempfile
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.certificates.authority import new_authority
from agent.certificates.rotation import DEFAULT_LIVES, Lives
from agent.controller.certificate_requests import FOLDER
from agent.controller.cluster_trust_bundle import FOLDER as CLUSTER_BUNDLES
from agent.controller.cluster_trust_bundle import NAME as CLUSTER_BUNDLE
from agent.controller.cluster_trust_bundle import PLURAL, VERSION
from agent.controller.run import Controller
from agent.kube.client import MERGE_PATCH, ApiServer
from support.apiserver.certificate_requests import (
    BUNDLE,
    SECRET,
    ask,
    bind,
    document,
    new_key,
    outcome,
    request_pem,
    roots,
    signer,
    uri,
)
from support.apiserver.controller import running
from support.apiserver.gateway import install_policies
from support.apiserver.manifests import account, apply
from support.apiserver.process import Cluster
from support.apiserver.statuses import until
from support.apiserver.tls_peers import Peer, requests
from support.parameters import parameters_document

PARAMETERS = "/apis/weft.dev/v1alpha1/meshparameters"
NAME = "weft-controller"
# An account that is allowed to ask: the agent's own.
AGENT = ("weft-system", "weft-agent")
KEY = new_key()
AUTHORITY = new_authority(9, "example.org", datetime.now(UTC), timedelta(days=1))
WITH_BUNDLES = {"feature-gates": "ClusterTrustBundle=true", "runtime-config": f"{VERSION}/{PLURAL}=true"}
QUICK = Lives(
    published=timedelta(seconds=2),
    certificate=timedelta(seconds=6),
    clocks=timedelta(0),
    looked_at=timedelta(seconds=0.3),
)


@pytest.fixture(scope="module")
def server(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the permissions of the component; the agent's account may make requests."""
    made = Cluster(tmp_path_factory.mktemp("authorities"), options=WITH_BUNDLES)
    try:
        made.start()
        install_policies(made)
        for manifest in ("base/namespace.yaml", "base/rbac.yaml", "components/certificates/rbac.yaml"):
            apply(made, manifest)
        account(made, NAME, made.folder)
        bind(made, "agents", {"kind": "ServiceAccount", "name": AGENT[1], "namespace": AGENT[0]})
        yield made
    finally:
        made.stop()


@pytest.fixture
def installed(server: Cluster) -> Iterator[Cluster]:
    """The cluster without an authority."""
    yield server
    for path in (SECRET, BUNDLE, f"{CLUSTER_BUNDLES}/{CLUSTER_BUNDLE}", f"{PARAMETERS}/default"):
        with suppress(urllib.error.HTTPError):
            server.request("DELETE", path)
    server.request("DELETE", FOLDER)


@asynccontextmanager
async def signing(cluster: Cluster, identity: str = "a", lives: Lives = DEFAULT_LIVES) -> AsyncIterator[Controller]:
    kubeconfig = cluster.folder / f"kubeconfig-{NAME}"
    async with running(kubeconfig, NAME, identity, "weft-system", certificates=True, lives=lives) as controller:
        yield controller


class Requester:
    """The agent's account, which gets one certificate after the other."""

    def __init__(self, cluster: Cluster, api: ApiServer) -> None:
        self._cluster = cluster
        self._api = api
        self._made = 0

    async def ask(self, domain: str = "cluster.local", **spec: Any) -> str:
        """Make a request; returns its name."""
        self._made += 1
        return await ask(self._api, document(f"r-{self._made}", request_pem(KEY, uri(*AGENT, domain)), **spec))

    async def issued(self, **more: Any) -> str:
        """A new certificate, in PEM."""
        name = await self.ask(**more)
        await until(lambda: outcome(self._cluster, name)[0] == "Issued")
        return outcome(self._cluster, name)[1]


@pytest.fixture
async def requester(installed: Cluster) -> AsyncIterator[Requester]:
    async with ApiServer(account(installed, AGENT[1], installed.folder), "weft-test") as api:
        yield Requester(installed, api)


def secret(cluster: Cluster) -> Any:
    return cluster.request("GET", SECRET)


def is_issued(cluster: Cluster, name: str) -> bool:
    return outcome(cluster, name)[0] == "Issued"


def generations(cluster: Cluster) -> list[str]:
    return sorted(name for name in secret(cluster)["data"] if name.endswith(".crt"))


async def test_the_next_leader_signs_with_the_same_authority(installed: Cluster, requester: Requester):
    first_context = signing(installed)
    first = await first_context.__aenter__()
    pem = await requester.issued()
    before, bundle = secret(installed), installed.request("GET", BUNDLE)
    async with signing(installed, "b") as second:
        await until(lambda: second.synced and not second.election.leads)
        # Who does not lead has no key, and decides nothing.
        assert second.authorities.end == 0.0
        assert first.authorities.end > 0
        waiting = await requester.ask()
        await until(lambda: outcome(installed, waiting)[0] == "Issued")
        await first_context.__aexit__(None, None, None)
        await until(lambda: second.authorities.end > 0)
        later = await requester.issued()
    assert signer(pem, roots(installed)) == signer(later, roots(installed)) == 0
    assert (secret(installed), installed.request("GET", BUNDLE)) == (before, bundle)


async def test_requests_wait_for_a_leader(installed: Cluster, requester: Requester):
    name = await requester.ask()
    assert outcome(installed, name) == ("", "")
    async with signing(installed):
        await until(lambda: outcome(installed, name)[0] == "Issued")


async def test_a_secret_that_cannot_be_used_is_kept_and_nothing_is_signed(installed: Cluster, requester: Requester):
    async with signing(installed, lives=QUICK) as controller:
        pem = await requester.issued()
        good = secret(installed)["data"]
        other = new_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for broken in (
            {"ca-1.key": base64.b64encode(b"nonsense").decode()},
            {"ca-1.key": base64.b64encode(other).decode()},
            {"ca-1.crt": None},
            {"ca-2.crt": good["ca-1.crt"]},
        ):
            installed.request("PATCH", SECRET, {"data": broken}, MERGE_PATCH)
            await until(lambda: controller.authorities.end == 0.0)
            waiting = await requester.ask()
            found = secret(installed)["data"]
            repaired = {name: good.get(name) for name in {*good, *broken}}
            assert outcome(installed, waiting) == ("", "")
            assert found == {name: value for name, value in {**good, **broken}.items() if value}
            installed.request("PATCH", SECRET, {"data": repaired}, MERGE_PATCH)
            await until(partial(is_issued, installed, waiting))
    assert signer(pem, roots(installed)) == 0
    assert len(roots(installed)) == 1


async def test_a_deleted_secret_is_the_end_of_all_certificates(installed: Cluster, requester: Requester):
    async with signing(installed, lives=QUICK):
        pem = await requester.issued()
        (before,) = roots(installed)
        installed.request("DELETE", SECRET)
        await until(lambda: roots(installed) != [before])
        assert len(roots(installed)) == 1
        assert signer(await requester.issued(), roots(installed)) == 0
        with pytest.raises(StopIteration):
            signer(pem, roots(installed))


async def test_a_changed_trust_bundle_is_written_again(installed: Cluster, requester: Requester):
    async with signing(installed, lives=QUICK):
        await requester.issued()
        bundle = installed.request("GET", BUNDLE)
        for broken in (
            {"data": {"ca.crt": "nonsense"}},
            {"metadata": {"annotations": {"weft.dev/published": "nonsense"}}},
            {"metadata": {"annotations": None}},
        ):
            installed.request("PATCH", BUNDLE, broken, MERGE_PATCH)
            await until(lambda: same(installed.request("GET", BUNDLE), bundle))
        installed.request("DELETE", BUNDLE)
        await until(lambda: len(configmaps(installed)) == 1)
        assert same(installed.request("GET", BUNDLE), bundle)


async def test_the_bundle_is_a_cluster_trust_bundle_too(installed: Cluster, requester: Requester):
    """Where the API is served. `certificate_cluster` of the other tests has an API server as it is by default."""

    def equal() -> bool:
        found = installed.request("GET", f"{CLUSTER_BUNDLES}/{CLUSTER_BUNDLE}")["spec"]
        text = installed.request("GET", BUNDLE)["data"]["ca.crt"]
        return bool(found == {"signerName": "weft.dev/spiffe", "trustBundle": text})

    async with signing(installed, lives=QUICK):
        await requester.issued()
        assert equal()
        other = {"spec": {"trustBundle": AUTHORITY.certificate_pem.decode()}}
        installed.request("PATCH", f"{CLUSTER_BUNDLES}/{CLUSTER_BUNDLE}", other, MERGE_PATCH)
        await until(equal)
        installed.request("POST", PARAMETERS, parameters_document(certificates={"caGeneration": 2}))
        await until(lambda: len(roots(installed)) == 2 and equal())
        await until(lambda: len(roots(installed)) == 1 and equal())


def same(found: Any, bundle: Any) -> bool:
    """Whether it has the same certificates, and says since when."""
    published = '{"1": "' in found["metadata"].get("annotations", {}).get("weft.dev/published", "")
    return bool(found["data"] == bundle["data"] and published)


def configmaps(cluster: Cluster) -> list[Any]:
    listed = cluster.request("GET", "/api/v1/namespaces/weft-system/configmaps")["items"]
    return [item for item in listed if item["metadata"]["name"] == "weft-trust-bundle"]


async def test_the_authority_is_of_the_mesh_s_trust_domain(installed: Cluster, requester: Requester):
    """A change of the trust domain needs another authority. Requests wait until that is published."""
    async with signing(installed, lives=QUICK):
        await requester.issued()
        installed.request("POST", PARAMETERS, parameters_document(trustDomain="example.org"))
        await until(lambda: generations(installed) == ["ca-1.crt", "ca-2.crt"])
        name = await requester.ask()
        await until(lambda: outcome(installed, name)[0] == "Denied")
        assert "cluster.local is not the trust domain" in outcome(installed, name)[1]
        pem = await requester.issued(domain="example.org")
        assert signer(pem, roots(installed)) == 0
    # Parameters that are deleted change nothing, also for a controller that starts meanwhile.
    installed.request("DELETE", f"{PARAMETERS}/default")
    async with signing(installed, "b", lives=QUICK) as controller:
        name = await requester.ask(domain="example.org")
        await until(lambda: outcome(installed, name)[0] == "Issued")
        await until(lambda: generations(installed) == ["ca-2.crt"])
        assert controller.authorities.trust_domain == "example.org"


async def test_no_request_is_lost_amid_rotations(installed: Cluster, requester: Requester, tmp_path: Path):
    """A server and its client, each of which renews its certificate and its trust bundle at its own time, through at
    least five rotations of the certificates of each, and one of the authority: 10 000 requests, 0 failed.
    """
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    peers = [Peer(Path(tempfile.mkdtemp(dir=tmp_path)), key) for _ in range(2)]
    by_new: list[bool] = []
    done = False
    lives = replace(QUICK, published=timedelta(seconds=8), certificate=timedelta(seconds=8))
    async with signing(installed, lives=lives):
        for peer in peers:
            peer.renew(await requester.issued(), installed.request("GET", BUNDLE)["data"]["ca.crt"])
        sent = asyncio.ensure_future(requests(*peers, lambda answered: answered < 10_000 or not done))
        installed.request("POST", PARAMETERS, parameters_document(certificates={"caGeneration": 2}))
        while len(by_new) < 10 or generations(installed) != ["ca-2.crt"]:
            pem = await requester.issued()
            bundle = await asyncio.to_thread(roots, installed)
            by_new.append("generation 2" in bundle[signer(pem, bundle)].subject.rfc4514_string())
            peers[len(by_new) % 2].renew(pem, pem_of(bundle))
            assert not sent.done()
        done = True
        assert await sent >= 10_000
        await until(lambda: len(roots(installed)) == 1)
    # First the old authority, though the new one is there, then the new one.
    assert by_new == sorted(by_new)
    assert (by_new[0], by_new[-1]) == (False, True)


def pem_of(bundle: list[x509.Certificate]) -> str:
    return "".join(root.public_bytes(serialization.Encoding.PEM).decode() for root in bundle)
