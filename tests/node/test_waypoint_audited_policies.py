"""Audited policies at the waypoint: Envoy says what they would decide, and refuses nothing by them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from agent.datapath.verdicts import MOST_COMBINATIONS, OTHER
from agent.ir.http import BackendPort
from agent.ir.policy import AUDIT, Policy, PolicyRule, ServiceAccount
from agent.ir.request_conditions import PathCondition, RequestConditions
from agent.ir.request_stats import Outcome, Series, Sums
from agent.ir.requirements import AuditedRequirements, Requirement, requirements
from agent.model.meta import Key
from agent.telemetry.request_log import PodAddresses, RequestCounts
from agent.telemetry.requests import Requests
from agent.waypoint import admin
from agent.waypoint.process import admin_socket
from agent.waypoint.request_stats import Process, parse
from support.waypoint.fixtures import WaypointNode, wait_for
from support.waypoint.known_clients import CART, CLIENTS, WEB, node_with_known_clients
from support.waypoint.rules import V1, V2, any_path, prefix, rule, to

pytestmark = pytest.mark.node

API, SHOP = (Key("AuthorizationPolicy", "app", name) for name in ("api", "shop"))
PUBLIC = RequestConditions(paths=(PathCondition("/public", exact=False),))


@pytest.fixture(scope="module")
def made() -> Iterator[WaypointNode]:
    with node_with_known_clients() as node:
        yield node


@pytest.fixture
def node(made: WaypointNode) -> WaypointNode:
    """The client is shop/web, the other one cart/default; a third one has no identity."""
    made.requirements.clear()
    made.audits.clear()
    return made


def audited(key: Key, *rules: PolicyRule) -> AuditedRequirements:
    return AuditedRequirements((key,), requirements([Policy(key, rules, application=True)], 8080))


def allow(*sources: ServiceAccount) -> PolicyRule:
    return PolicyRule(frozenset(sources) or None, conditions=PUBLIC)


def statuses(node: WaypointNode, port: int, path: str) -> list[int]:
    return [node.ask(port, path, source=source).status for source in CLIENTS]


def reported(node: WaypointNode, path: str) -> list[tuple[str, str] | None]:
    """What the log says of the requests with a path, by client."""

    def found() -> dict[str, tuple[str, str] | None]:
        return {item.client: item.audit for item in node.ads_server.exchanges if item.path == path}

    wait_for("all are logged", lambda: len(found()) == len(CLIENTS))
    return [found()[client] for client in CLIENTS]


class Counted:
    """What the agent counts of Envoy's statistics since this was made."""

    def __init__(self, node: WaypointNode) -> None:
        self._socket, self._process = admin_socket(node.folder, "blue"), Process()
        self._process.grow(self._read())
        self._counts = RequestCounts(PodAddresses(dict), Requests(lambda: 0.0))

    def _read(self):
        return parse(admin.request_statistics(self._socket))

    def now(self) -> dict[tuple[str, str], int]:
        """By policies and verdict."""
        self._counts.record(self._process.grow(self._read()))
        found = self._counts.audited()
        assert all(labels[2:] == ("waypoint", AUDIT) for labels in found)
        return {labels[:2]: count for labels, count in found.items()}


@pytest.mark.feature("AuthorizationPolicy, Application: a dry run")
def test_what_audited_policies_would_decide_is_told_and_counted_and_nothing_is_refused(node: WaypointNode) -> None:
    node.audits[V1] = (audited(API, allow(WEB)),)
    port = node.serve(rule(any_path()))
    counted = Counted(node)
    assert statuses(node, port, "/public/a") == statuses(node, port, "/other") == [200, 200, 200]
    allowed, refused = ("allowed", "app/api"), ("refused", "app/api")
    assert reported(node, "/public/a") == [allowed, refused, refused]
    assert reported(node, "/other") == [refused] * 3
    wait_for("all are counted", lambda: counted.now() == {("app/api", "allowed"): 1, ("app/api", "refused"): 5})


def test_enforced_policies_decide_as_ever_beside_audited_ones(node: WaypointNode) -> None:
    enforced = requirements([Policy(SHOP, (PolicyRule(frozenset({WEB, CART})),))], 8080)
    node.requirements[V1] = enforced
    port = node.serve(rule(any_path()))
    before = statuses(node, port, "/public/b")
    node.audits[V1] = (AuditedRequirements((API,), (*enforced, Requirement((API,), (WEB,)))),)
    port = node.serve(rule(any_path()))
    assert statuses(node, port, "/public/c") == before == [200, 200, 403]
    assert reported(node, "/public/b") == [None] * 3
    assert reported(node, "/public/c") == [("allowed", "app/api"), ("refused", "app/api"), ("refused", "app/api")]


def test_each_backend_of_a_split_has_its_own_audited_policies(node: WaypointNode) -> None:
    node.audits[V1] = (audited(API, allow(WEB)),)
    node.audits[V2] = (audited(SHOP),)
    port = node.serve(rule(prefix("/v1")), rule(any_path(), to(V1, V2)))
    backends = {"v1": ("allowed", "app/api"), "v2": ("refused", "app/shop")}
    served = {path: node.ask(port, path).pod for path in (f"/public/{number}" for number in range(40))}
    wait_for("all are logged", lambda: {item.path for item in node.ads_server.exchanges} >= served.keys())
    found = {item.path: item.audit for item in node.ads_server.exchanges if item.path in served}
    assert found == {path: backends[pod] for path, pod in served.items()}
    assert {*served.values()} == {*backends}


def test_of_pods_with_different_audited_policies_those_that_refuse_are_named(node: WaypointNode) -> None:
    node.audits[V1] = (audited(API, allow(WEB)), audited(SHOP, allow(CART, WEB)))
    port = node.serve(rule(any_path()))
    assert statuses(node, port, "/public/e") == [200, 200, 200]
    both = ("allowed", "app/api+app/shop")
    assert reported(node, "/public/e") == [both, ("refused", "app/api"), ("refused", "app/api")]


def test_combinations_of_policies_are_bounded() -> None:
    counts = RequestCounts(PodAddresses(dict), Requests(lambda: 0.0))
    growth = [
        (Series("10.0.0.1", "app/web:80", "", "", audit=("allowed", f"app/{number}")), Sums({Outcome("200"): 2}))
        for number in range(MOST_COMBINATIONS + 5)
    ]
    counts.record(growth)
    found = Counter({policy: count for (policy, *_), count in counts.audited().items()})
    assert (len(found), found[OTHER], found["app/0"]) == (MOST_COMBINATIONS + 1, 10, 2)


def test_a_backend_without_audited_policies_is_told_without_them(node: WaypointNode) -> None:
    port = node.serve(rule(any_path(), to(BackendPort("app", "v1", 80))))
    assert statuses(node, port, "/public/f") == [200, 200, 200]
    assert reported(node, "/public/f") == [None] * 3
