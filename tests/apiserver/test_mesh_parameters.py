"""MeshParameters on a real API server: what it accepts, what the XMesh's status says of them, and an agent without
them.
"""

import json
import re
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from agent.kube.client import ApiServer
from agent.kube.decode import decode, decode_json
from agent.model.change import Problem
from agent.model.parameters import KIND
from support import REPOSITORY
from support.apiserver.agent import Agent, make_cgroup, run_pod, running_agent
from support.apiserver.controller import running
from support.apiserver.gateway import install, install_policies
from support.apiserver.objects import namespace
from support.apiserver.process import Cluster
from support.apiserver.statuses import MERGE, until
from support.parameters import MESH_VERSION, VERSION, parameters_document

PATH = f"/apis/{VERSION}/meshparameters"
STRICT = f"{PATH}?fieldValidation=Strict"
DRY_RUN = f"{STRICT}&dryRun=All"
MESHES = f"/apis/{MESH_VERSION}/xmeshes"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
EXEMPT = "spec.authorization.exemptNamespaces"


@pytest.fixture(scope="module")
def server(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the definition."""
    made = Cluster(tmp_path_factory.mktemp("parameters"))
    try:
        made.start()
        install_policies(made)
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize(
    "document",
    [
        parameters_document(),
        parameters_document("Allow"),
        parameters_document("SameNamespace", "kube-system", "a" * 63),
        parameters_document(encryption={"mode": "Off"}),
        parameters_document(encryption={"mode": "Strict", "podCIDRs": ["10.244.0.0/16", "fd00:10:244::/48"]}),
        parameters_document("Deny", *(f"n{number}" for number in range(64)), trustDomain="a" * 255),
    ],
)
def test_good_parameters_are_accepted_and_decoded(server: Cluster, document: Any):
    assert server.refusal(DRY_RUN, document) == ""
    (found,) = decode(document, "here")
    assert not isinstance(found, Problem), found


def test_the_examples_are_accepted(server: Cluster):
    page = (REPOSITORY / "docs/authorization.md").read_text()
    texts = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    page = (REPOSITORY / "docs/encryption.md").read_text()
    texts += re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    texts.append((REPOSITORY / "examples/faces/steps/6-default.yaml").read_text())
    found = [item for text in texts for item in yaml.load_all(text, yaml.CSafeLoader)]
    documents = [item for item in found if item.get("kind") == KIND]
    assert [server.refusal(DRY_RUN, document) for document in documents] == [""] * 3


def test_the_defaults_of_the_definition_are_those_of_weft(server: Cluster):
    made = server.request("POST", DRY_RUN, parameters_document())
    found, plain = decode_json(json.dumps(made).encode(), KIND, "here"), next(decode(parameters_document(), "here"))
    assert not isinstance(found, Problem)
    assert not isinstance(plain, Problem)
    assert getattr(found, "spec", 1) == getattr(plain, "spec", 2)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"trustDomain": "a/b"}, "spec.trustDomain"),
        ({"trustDomain": ""}, "spec.trustDomain"),
        ({"trustDomain": "a" * 256}, "spec.trustDomain"),
        ({"authorization": {}}, "spec.authorization"),
        ({"authorization": {"default": None}}, "spec.authorization.default"),
        ({"authorization": {"default": "allow"}}, "spec.authorization.default"),
        ({"authorization": {"default": "Deny", "exempt": ["a"]}}, "spec.authorization.exempt"),
        ({"authorization": {"default": "Deny", "exemptNamespaces": ["a", "a"]}}, f"{EXEMPT}[1]"),
        ({"authorization": {"default": "Deny", "exemptNamespaces": ["a.b"]}}, f"{EXEMPT}[0]"),
        ({"authorization": {"default": "Deny", "exemptNamespaces": [f"n{n}" for n in range(65)]}}, EXEMPT),
        ({"unknown": 1}, "spec.unknown"),
        ({"encryption": {}}, "spec.encryption"),
        ({"encryption": {"mode": False}}, "spec.encryption.mode"),
        ({"encryption": {"mode": "Strict"}}, "podCIDRs is required by mode Strict"),
        ({"encryption": {"mode": "Pods", "podCIDRs": ["10.244.0.0"]}}, "spec.encryption.podCIDRs[0]"),
        (
            {"encryption": {"mode": "Pods", "podCIDRs": [f"10.{n}.0.0/16" for n in range(17)]}},
            "spec.encryption.podCIDRs",
        ),
        ({"encryption": {"mode": "Pods", "podCIDRs": ["10.0.0.0/8"] * 2}}, "spec.encryption.podCIDRs[1]"),
        ({"encryption": {"mode": "Pods", "keyGeneration": 0}}, "spec.encryption.keyGeneration"),
        ({"encryption": {"mode": "Pods", "keyGeneration": 1_000_001}}, "spec.encryption.keyGeneration"),
        ({"certificates": {"caGeneration": 0}}, "spec.certificates.caGeneration"),
        ({"certificates": {"caGeneration": 1_000_001}}, "spec.certificates.caGeneration"),
    ],
)
def test_bad_parameters_are_refused_and_the_field_named(server: Cluster, spec: Any, field: str):
    """By the API server, and by weft where it reads manifests."""
    document = parameters_document(**spec)
    assert field in server.refusal(DRY_RUN, document)
    (found,) = decode(document, "here")
    assert isinstance(found, Problem)


def test_keys_are_replaced_one_generation_at_a_time(server: Cluster):
    def changed(generation: int) -> str:
        patch = {"spec": {"encryption": {"keyGeneration": generation}}}
        try:
            server.request("PATCH", f"{PATH}/keys", patch, MERGE)
        except urllib.error.HTTPError as error:
            return str(error.__notes__[0])
        return ""

    server.request("POST", STRICT, parameters_document(name="keys", encryption={"mode": "Pods"}))
    assert [changed(generation) for generation in (1, 2, 3)] == ["", "", ""]
    for generation in (2, 5):
        assert "keyGeneration must be the former one, or one more" in changed(generation)
    server.request("DELETE", f"{PATH}/keys")


def test_a_null_is_kept_and_refused_by_weft(server: Cluster):
    """It must not become the default that admits every client."""
    made = server.request("POST", DRY_RUN, parameters_document(authorization=None))
    assert made["spec"]["authorization"] is None
    found = decode_json(json.dumps(made).encode(), KIND, "here")
    assert isinstance(found, Problem)
    assert found.field == "spec.authorization"


async def test_columns(server: Cluster):
    server.request("POST", STRICT, parameters_document("Deny", name="columns"))
    async with ApiServer(server.kubeconfig(), "weft-test") as api:
        table = json.loads(await api.get(PATH, {}, TABLE))
    columns = [item["name"] for item in table["columnDefinitions"]]
    (row,) = (dict(zip(columns, item["cells"], strict=True)) for item in table["rows"])
    assert (row["Name"], row["Default"], row["Trust domain"]) == ("columns", "Deny", "cluster.local")


def accepted(cluster: Cluster) -> tuple[str, str]:
    """The reason and the message of the XMesh's condition; empty while there is none."""
    conditions = cluster.request("GET", f"{MESHES}/weft").get("status", {}).get("conditions", [])
    return next(((it["reason"], it["message"]) for it in conditions if it["type"] == "Accepted"), ("", ""))


async def test_the_xmesh_says_what_is_wrong_with_its_parameters(make_cluster: Callable[[], Cluster]):
    cluster = make_cluster()
    install(cluster, "experimental")
    install_policies(cluster)
    async with running(cluster.kubeconfig(), "parameters") as controller:
        await until(lambda: controller.metrics.written("XMesh") >= 2)
        assert accepted(cluster) == ("Accepted", "weft, mesh weft")
        reference = {"group": "weft.dev", "kind": "MeshParameters", "name": "strict"}
        cluster.request("PATCH", f"{MESHES}/weft", {"spec": {"parametersRef": reference}}, MERGE)
        missing = "weft, mesh weft: spec.parametersRef: MeshParameters strict does not exist"
        await until(lambda: accepted(cluster)[0] == "InvalidParameters")
        assert accepted(cluster)[1].startswith(missing)
        cluster.request("POST", PATH, parameters_document("Deny", name="strict"))
        await until(lambda: accepted(cluster)[0] == "Accepted")
        cluster.request("PATCH", f"{PATH}/strict", {"spec": {"authorization": {"default": "Allow"}}}, MERGE)
        # A null is the one thing that the API server takes and weft does not.
        body = parameters_document(name="strict", authorization=None)
        body["metadata"] = cluster.request("GET", f"{PATH}/strict")["metadata"]
        cluster.request("PUT", f"{PATH}/strict", body)
        await until(lambda: accepted(cluster)[0] == "InvalidParameters")
        assert "MeshParameters strict: spec.authorization: Expected `object`, got `null`" in accepted(cluster)[1]
        cluster.request("DELETE", f"{PATH}/strict")
        await until(lambda: accepted(cluster)[1].startswith(missing))
        assert controller.metrics.written("XMesh", "failed") == 0


def protected(agent: Agent) -> dict[str, list[str]]:
    return {pod["pod"]: pod["policies"] for pod in agent.status()["protectedPods"]}


@pytest.mark.bpf
def test_an_agent_keeps_the_last_parameters_when_they_and_their_definition_are_deleted_and_it_starts_again(
    make_cluster: Callable[[], Cluster], node_name: str
):
    cluster = make_cluster()
    install(cluster, "experimental")
    install_policies(cluster)
    cluster.request("POST", "/api/v1/namespaces", namespace("agent"))
    make_cgroup(node_name, run_pod(cluster, "mine", "n1", "10.77.0.2"))
    cluster.request("POST", PATH, parameters_document("Allow"))
    closed = {"agent/mine": ["MeshParameters default"]}
    with running_agent(cluster, node_name, cluster.kubeconfig()) as agent:
        assert protected(agent) == {}
        # A change is made by no restart.
        cluster.request("PATCH", f"{PATH}/default", {"spec": {"authorization": {"default": "Deny"}}}, MERGE)
        agent.until(lambda: protected(agent) == closed)
        cluster.request("DELETE", f"{PATH}/default")
        agent.until(lambda: "does not exist" in agent.status()["meshParameters"]["problem"])
        assert protected(agent) == closed
        cluster.request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/meshparameters.weft.dev")
        agent.until(lambda: agent.status()["source"]["missing"] == ["MeshParameters"])
        assert protected(agent) == closed
    with running_agent(cluster, node_name, cluster.kubeconfig()) as agent:
        assert protected(agent) == closed
