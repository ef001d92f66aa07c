"""Policies about HTTP at the waypoint: Envoy serves exactly the requests that the rules admit."""

import itertools
import random
from collections.abc import Iterable, Iterator

import pytest

from agent.ir.http import Rule
from agent.ir.identity import Identity, Workload
from agent.ir.policy import Policy, PolicyRule, ServiceAccount
from agent.ir.request import request
from agent.ir.request_conditions import PathCondition, RequestConditions
from agent.ir.requirements import Requirement, requirements, unmet
from agent.model.filters import BackendObjectReference, ExternalAuth, Filter, HTTPAuth
from agent.model.meta import Key
from agent.model.routes import GRPCRouteMatch
from agent.translate.filters.external_auth import Authorizer
from support.waypoint.caller import call
from support.waypoint.client import exchange
from support.waypoint.fixtures import WaypointNode, wait_for
from support.waypoint.known_clients import ACCOUNTS, CART, CLIENTS, WEB, node_with_known_clients
from support.waypoint.recorder import recorder
from support.waypoint.rules import V1, V1_H2C, V2, any_path, changes, filtered, full, prefix, rewrites, rule, start, to

pytestmark = pytest.mark.node

KEY = Key("AuthorizationPolicy", "app", "api")
PUBLIC = PathCondition("/public", exact=False)


@pytest.fixture(scope="module")
def made() -> Iterator[WaypointNode]:
    with node_with_known_clients() as node:
        yield node


@pytest.fixture
def node(made: WaypointNode) -> WaypointNode:
    """The client is shop/web, the other one cart/default; a third one has no identity."""
    made.requirements.clear()
    return made


def conditions(
    *paths: PathCondition, methods: Iterable[str] = (), headers: Iterable[tuple[str, str]] = ()
) -> RequestConditions:
    return RequestConditions(tuple(methods), paths, tuple(headers))


def required(*rules: PolicyRule) -> tuple[Requirement, ...]:
    return requirements([Policy(KEY, rules, application=True)], 8080)


def allow(wanted: RequestConditions, *sources: ServiceAccount) -> PolicyRule:
    return PolicyRule(frozenset(sources) or None, conditions=wanted)


def statuses(node: WaypointNode, port: int, path: str = "/", **sent: object) -> list[int]:
    """The status for the client, the other one, and the one without an identity."""
    return [node.ask(port, path, source=source, **sent).status for source in CLIENTS]


@pytest.mark.feature("AuthorizationPolicy, Application: methods, paths and headers")
def test_each_rule_is_for_its_clients_methods_paths_and_headers(node: WaypointNode) -> None:
    node.requirements[V1] = required(
        allow(conditions(PUBLIC, methods=["GET", "HEAD"])),
        allow(conditions(PathCondition("/orders"), methods=["POST"]), WEB),
        allow(conditions(headers=[("x-team", "cart")]), CART),
    )
    port = node.serve(rule(any_path()))
    team = [("X-Team", "cart")]
    assert statuses(node, port, "/public/x?y=/z") == [200, 200, 200]
    assert statuses(node, port, "/public", method="HEAD") == [200, 200, 200]
    assert statuses(node, port, "/public", method="DELETE") == [403, 403, 403]
    assert statuses(node, port, "/publicity") == [403, 403, 403]
    assert statuses(node, port, "/orders", method="POST") == [200, 403, 403]
    assert statuses(node, port, "/orders/7", method="POST") == [403, 403, 403]
    assert statuses(node, port, "/other", headers=team) == [403, 200, 403]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-team", "")],
        [("x-team", "Cart")],
        [("x-team", "cart2")],
        [("x-team", "cart"), ("x-team", "admin")],
        [("x-team", "admin"), ("x-team", "cart")],
        [("x-team", "cart,admin")],
        [("x_team", "cart")],
    ],
)
def test_a_header_has_exactly_its_value(node: WaypointNode, headers: list[tuple[str, str]]) -> None:
    node.requirements[V1] = required(allow(conditions(headers=[("x-team", "cart")])))
    port = node.serve(rule(any_path()))
    assert node.ask(port, headers=headers).status == 403
    assert node.ask(port, headers=[("X-TEAM", "cart")]).status == 200
    assert node.ask(port, headers=[("x-team", "cart"), ("X-Team", "cart")]).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/admin", "/public/../admin", "/public/..", "/public/./x", "/public/..;/admin", "/public/.;a/admin"),
        *("//public/x", "/public//x", "/public/%2e%2e/admin", "/public/%2E./admin", "/public%2f..%2fadmin"),
        *("/public/%2Fadmin", "/public/..%3b/admin", "/public\\..\\admin", "/public/%5c../admin", "/public%2fx"),
        *("/public/%252e%252e/admin", "/public/%00", "/public/%c0%ae%c0%ae/admin", "/%70ublic/x", "/PUBLIC/x"),
        *("http://app/admin", "*", "/x?/public/"),
    ],
)
def test_no_other_spelling_of_a_path_gets_through(node: WaypointNode, path: str) -> None:
    """A prefix in front of what a server might take for another path, and another path in front of the prefix."""
    node.requirements[V1] = required(allow(conditions(PUBLIC)))
    port = node.serve(rule(any_path()))
    assert node.ask(port, path, method="OPTIONS" if path == "*" else "GET").seen == {}
    assert node.ask(port, "/public/a.b/..c/d..;/%20%C3%A4?q=//../%2f").status == 200


def test_paths_reach_servers_unchanged_where_no_policy_looks_at_them(node: WaypointNode) -> None:
    node.requirements[V1] = required(allow(conditions(methods=["GET"])))
    port = node.serve(rule(any_path()))
    assert node.ask(port, "//a/../%2f;/%2e").seen["path"] == "//a/../%2f;/%2e"


def test_grpc_methods_are_paths(node: WaypointNode) -> None:
    rules = [rule(GRPCRouteMatch(), to(V1_H2C))]
    methods = ("/shop.Cart/Get", "/shop.Cart/Delete", "/shop.Orders/Get")
    node.requirements[V1_H2C] = required(allow(conditions(PathCondition("/shop.Cart/Get")), WEB))
    assert call(node, rules, *methods) == ["v1", "PERMISSION_DENIED", "PERMISSION_DENIED"]
    node.requirements[V1_H2C] = required(allow(conditions(PathCondition("/shop.Cart", exact=False)), WEB))
    assert call(node, rules, *methods) == ["v1", "v1", "PERMISSION_DENIED"]
    node.requirements[V1_H2C] = required(allow(conditions(headers=[("team", "a")]), WEB))
    assert call(node, rules, methods[0], metadata='[["team", "a"]]') == ["v1"]
    assert call(node, rules, methods[0], metadata='[["team", "b"]]') == ["PERMISSION_DENIED"]


def test_both_levels_must_admit_a_request(node: WaypointNode) -> None:
    network = Policy(Key("AuthorizationPolicy", "app", "net"), (PolicyRule(frozenset({WEB})),))
    application = Policy(KEY, (allow(conditions(PUBLIC)),), application=True)
    node.requirements[V1] = requirements([network, application], 8080)
    port = node.serve(rule(any_path()))
    assert statuses(node, port, "/public") == [200, 403, 403]
    assert statuses(node, port, "/admin") == [403, 403, 403]


def test_a_change_holds_for_the_next_request_of_a_connection(node: WaypointNode) -> None:
    served = rule(any_path())
    name = node.add([served])
    port = node.serving(name)
    with node.connection(port) as kept:
        for wanted, expected in (
            (conditions(PUBLIC), (200, 403)),
            (conditions(PathCondition("/admin")), (403, 200)),
            (conditions(methods=["PUT"]), (403, 403)),
        ):
            node.requirements[V1] = required(allow(wanted, WEB))
            node.add([served], name=name)
            node.publish()
            wait_for("the change is acknowledged", node.settled)
            assert (exchange(kept, "/public/../admin").status, exchange(kept, "/public").status) == (403, expected[0])
            assert exchange(kept, "/admin").status == expected[1]


@pytest.mark.feature("AuthorizationPolicy, Application: filters that change what a rule looks at: 403")
@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        (rule(prefix("/public"), to(V1), rewrites(full("/admin"))), {"/public"}),
        (rule(prefix("/public"), to(V1), rewrites(start("/admin"))), {"/public"}),
        (rule(prefix("/public"), (filtered(rewrites(start("/admin"))),)), {"/public"}),
        (rule(prefix("/public"), (filtered(rewrites(full("/admin"))), *to(V1))), {"/public"}),
    ],
)
def test_a_route_that_rewrites_paths_leads_nobody_past_a_policy(
    node: WaypointNode, wanted: Rule, served: set[str]
) -> None:
    node.requirements[V1] = required(allow(conditions(PUBLIC)))
    port = node.serve(wanted)
    found = {str(node.ask(port, "/public").seen.get("path", "refused")) for _ in range(20)}
    assert found <= served | {"refused"}
    assert "refused" in found


@pytest.mark.feature("AuthorizationPolicy, Application: filters that change what a rule looks at: 403")
def test_a_route_that_sets_a_header_leads_nobody_past_a_policy(node: WaypointNode) -> None:
    node.requirements[V1] = required(allow(conditions(headers=[("x-team", "cart")])))
    port = node.serve(
        rule(prefix("/same"), to(V1), changes("request", set={"x-other": "1"})),
        rule(prefix("/changed"), to(V1), changes("request", set={"X-Team": "admin"})),
        rule(prefix("/added"), to(V1), changes("request", add={"x-team": "cart"})),
        rule(prefix("/removed"), to(V1), changes("request", remove=["x-team"])),
    )
    team = [("x-team", "cart")]
    assert [node.ask(port, path, headers=team).status for path in ("/same", "/changed", "/added", "/removed")] == [
        200,
        403,
        403,
        403,
    ]
    assert node.ask(port, "/added").status == 403


def test_an_authorization_server_that_sets_headers_leads_nobody_past_a_policy(node: WaypointNode) -> None:
    with recorder(node, "authorizer") as authorizer:
        backend = authorizer.backend
        node.requirements[V1] = required(allow(conditions(headers=[("x-team", "cart")])))

        def external(*copied: str) -> Rule:
            http = HTTPAuth(allowed_response_headers=copied)
            auth = ExternalAuth("HTTP", BackendObjectReference("authorizer", port=80), None, http)
            return rule(any_path(), to(V1), Filter("ExternalAuth", external_auth=auth), resolved=(Authorizer(backend),))

        team = [("x-team", "cart")]
        assert node.ask(node.serve(external()), headers=team).status == 403
        assert node.ask(node.serve(external("X-Team")), headers=team).status == 403
        assert node.ask(node.serve(external("x-user")), headers=team).status == 200


def identity(account: ServiceAccount | None) -> Identity | None:
    return account and Identity(account.namespace, account.name, Workload(account.namespace, "w", "w", "v1"))


METHODS, PATHS = ("GET", "POST"), ("/a", "/a/b", "/ab", "/", "/a//b", "/a/../b", "/a?b", "/a/%2e")
HEADERS = ([], [("x-a", "1")], [("x-a", "1"), ("x-a", "2")], [("x-b", "1"), ("X-A", "1")])
REQUESTS = list(itertools.product(METHODS, PATHS, HEADERS))


def random_rule(draw: random.Random) -> PolicyRule:
    paths = [PathCondition("/a"), PathCondition("/a", exact=False), PathCondition("", exact=False)]
    wanted = conditions(
        *draw.sample(paths, draw.randrange(3)),
        methods=draw.sample(METHODS, draw.randrange(2)),
        headers=draw.sample([("x-a", "1"), ("x-b", "1")], draw.randrange(3)),
    )
    sources = draw.choice([None, {WEB}, {WEB, CART}, {ServiceAccount("shop", "*")}, set()])
    return PolicyRule(None if sources is None else frozenset(sources), conditions=wanted)


def test_envoy_decides_requests_as_random_policies_do(node: WaypointNode) -> None:
    draw = random.Random(15)
    wrong, served = [], 0
    for _ in range(25):
        levels = [application for application in (True, False) if draw.random() < 0.6]
        policies = [
            Policy(KEY._replace(name=f"p{level}"), tuple(random_rule(draw) for _ in range(draw.randrange(4))), 1, level)
            for level in levels
        ]
        node.requirements[V2] = found = requirements(policies, 8080)
        port = node.serve(rule(any_path(), to(V2)))
        for source in CLIENTS:
            with node.connection(port, source) as connection:
                for method, path, headers in draw.sample(REQUESTS, 24):
                    wanted = request(method, "app", path, headers)
                    expected = unmet(found, identity(ACCOUNTS.get(source)), wanted) is None
                    served += expected
                    if (exchange(connection, path, method=method, headers=headers).status == 200) is not expected:
                        wrong.append((found, source, wanted))
    assert wrong == []
    assert 300 < served < 1500
