"""`weft authz` by what an agent knows: pods of its node, and endpoints of others with policies that nodes report."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest

from agent.explain.cluster_reach import ClusterReach
from agent.explain.reach import ReachQuery
from agent.explain.refusal import UNKNOWN_POLICIES
from agent.kube.decode import decode
from agent.model.change import Keyed, Upsert
from agent.model.facts import NodeReport
from agent.model.weft_node import Guarded, PolicyGeneration
from agent.node.reach import answer_reach
from agent.store.store import Store
from agent.telemetry.http import BadRequestError
from agent.translate.options import Options
from support.explain import service
from support.policies import from_account, policy_document

HERE, THERE = "10.0.1.1", "10.0.2.1"
HTTP = {"name": "http", "port": 80}
RULE = {"sources": [from_account("client")], "networkAttributes": {"ports": [8080]}}
NAME = "AuthorizationPolicy app/p"


def pod(name: str, address: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "app", "uid": name, "labels": {"app": name}},
        "spec": {"nodeName": "n1", "serviceAccountName": name, **spec},
        "status": {"phase": "Running", "podIPs": [{"ip": address}]},
    }


def endpoints(*locations: tuple[str, str], name: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "app", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "nodeName": node} for address, node in locations],
        "ports": [{"name": "http", "port": 8080}],
    }


def report(*policies: PolicyGeneration) -> NodeReport:
    return NodeReport("n2", guarded=(Guarded("app", (THERE,), policies),))


CLUSTER = (
    service("web", HTTP),
    endpoints((HERE, "n1"), (THERE, "n2")),
    pod("web", HERE),
    pod("client", "10.0.1.2"),
    policy_document(RULE, selector={"matchLabels": {"app": "web"}}),
)


WEB, CLIENT = ReachQuery(service=("app", "web")), ReachQuery(pod=("app", "client"))


async def answer(found: ReachQuery, *values: Keyed | dict[str, Any]) -> dict[str, Any]:
    """The document of an agent of the node n1 that knows these objects and facts."""
    store = Store()
    objects = [item for value in values if isinstance(value, dict) for item in decode(value, "here")]
    facts = [value for value in values if not isinstance(value, dict)]
    store.apply(map(Upsert, [*objects, *facts]))
    sent = dict(parse_qsl(found.path().partition("?")[2]))
    response = await answer_reach(ClusterReach(store, Options("n1")), sent)
    return dict(json.loads(response.body))


async def test_who_may_connect_to_pods_of_this_node_and_of_another_one() -> None:
    found = await answer(WEB, *CLUSTER, report(PolicyGeneration("p", 1)))
    (row,) = found["ports"]
    assert (found["service"], row["pods"], row["port"], row["target"]) == ("app/web", [THERE, "app/web"], 80, 8080)
    assert [(item["client"], item["policy"], item["rule"]) for item in row["clients"]] == [("app/client", NAME, 0)]


async def test_the_policies_of_another_node_that_are_not_known_here_admit_no_client() -> None:
    here, there = (await answer(WEB, *CLUSTER, report(PolicyGeneration("p", 2))))["ports"]
    assert (here["pods"], len(here["clients"])) == (["app/web"], 1)
    assert (there["pods"], there["clients"]) == ([THERE], [])
    assert there["reason"] == f"no rule of {UNKNOWN_POLICIES}"
    (_, there) = (await answer(WEB, *CLUSTER, report()))["ports"]
    assert there["reason"] == f"no rule of {UNKNOWN_POLICIES}"


async def test_a_pod_of_another_node_without_a_report_is_open() -> None:
    _, there = (await answer(WEB, *CLUSTER))["ports"]
    assert [(item["client"], item["policy"], item["reason"]) for item in there["clients"]] == [
        ("*", None, "its node reports no policy of it")
    ]


async def test_where_a_pod_may_connect_and_what_refuses_it() -> None:
    own = (service("client", HTTP), endpoints(("10.0.1.2", "n1"), name="client"))
    refusing = policy_document(selector={"matchLabels": {"app": "web"}})
    for policy, allowed in ((CLUSTER[-1], True), (refusing, False)):
        found = await answer(CLIENT, *CLUSTER[:-1], *own, policy, report(PolicyGeneration("p", 1)))
        (row,) = found["targets"]
        assert (found["serviceAccount"], row["pods"], row["services"]) == (
            *("app/client", [THERE, "app/web"]),
            ["app/web:80"],
        )
        assert (row["ports"], row["allowed"], row["policies"]) == ([8080], allowed, [NAME])


async def test_policies_of_a_pod_on_the_host_s_network_are_not_enforced() -> None:
    found = await answer(WEB, *CLUSTER, pod("web", HERE, hostNetwork=True))
    assert "Unsupported" in found["ports"][0]["clients"][0]["reason"]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (ReachQuery(service=("app", "gone")), "the cluster has no Service app/gone"),
        (ReachQuery(service=("app", "web"), port=81), "Service app/web has no port 81, only 80"),
        (ReachQuery(pod=("app", "gone")), "the agent knows no pod app/gone: its node's agent does"),
    ],
)
async def test_a_question_about_what_is_not_there_is_refused(found: ReachQuery, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        await answer(found, *CLUSTER)


async def test_a_query_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(BadRequestError, match="query"):
        await answer_reach(ClusterReach(Store(), Options()), {"query": "{"})
