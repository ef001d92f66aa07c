"""Requirements of backends at the waypoint: who gets an answer of a server, by service account, and who a refusal."""

import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from agent.ir.http import BackendPort, Rule, TLSRule, WeightedBackend
from agent.ir.identity import Identity, Workload
from agent.ir.policy import Policy, PolicyRule, ServiceAccount, decide
from agent.ir.requirements import UNKNOWN, Requirement, requirement
from agent.model.filters import BackendObjectReference, ExternalAuth, Filter, HTTPAuth
from agent.model.meta import Key
from agent.model.routes import GRPCRouteMatch
from agent.translate.filters.external_auth import Authorizer
from agent.translate.filters.request_mirror import Mirror
from support.waypoint.caller import call
from support.waypoint.client import exchange
from support.waypoint.fixtures import CLIENT, OTHER_CLIENT, WaypointNode, wait_for, waypoint_node
from support.waypoint.known_clients import ACCOUNTS, CART, CLIENTS, WEB, WITHOUT_IDENTITY
from support.waypoint.listeners import SERVERS
from support.waypoint.recorder import Recorder, recorder
from support.waypoint.rules import V1, V1_H2C, V2, any_path, prefix, rule, to
from support.waypoint.tls import CLOSED, TLSNode

pytestmark = pytest.mark.node

ONLY_WEB, ONLY_CART = (
    Requirement((Key("AuthorizationPolicy", "app", account.namespace),), (account,)) for account in (WEB, CART)
)
REFUSED = b"RBAC: access denied"


@pytest.fixture(scope="module")
def made() -> Iterator[WaypointNode]:
    with waypoint_node() as node:
        yield node


@pytest.fixture
def node(made: WaypointNode) -> WaypointNode:
    """The client is shop/web, the other one cart/default; a third one has no identity."""
    made.requirements.clear()
    identify(made, dict(ACCOUNTS))
    return made


@pytest.fixture
def server(node: WaypointNode) -> Iterator[Recorder]:
    with recorder(node) as running:
        yield running


def identify(node: WaypointNode, accounts: dict[str, ServiceAccount]) -> None:
    node.accounts = accounts
    node.allow_clients(*CLIENTS)


def statuses(node: WaypointNode, port: int, path: str = "/", **request: object) -> list[int]:
    """The status for the client, the other one, and the one without an identity."""
    return [node.ask(port, path, source=source, **request).status for source in CLIENTS]


def republish(node: WaypointNode, name: str, *rules: Rule) -> None:
    node.add(rules, name=name)
    node.publish()
    wait_for("the change is acknowledged", node.settled)


def test_without_requirements_every_client_is_served(node):
    assert statuses(node, node.serve(rule(any_path()))) == [200, 200, 200]


def test_only_the_clients_of_the_requirement_are_served(node):
    node.requirements[V1] = (ONLY_WEB,)
    port = node.serve(rule(prefix("/one")), rule(prefix("/two"), to(V2)))
    assert statuses(node, port, "/one") == [200, 403, 403]
    assert statuses(node, port, "/two") == [200, 200, 200]
    answer = node.ask(port, "/one", source=OTHER_CLIENT)
    assert answer.body == REFUSED


def test_an_account_stands_for_itself_and_a_star_for_its_namespace(node):
    node.requirements |= {
        V1: (Requirement((), (ServiceAccount("shop", "*"),)),),
        V2: (Requirement((), (ServiceAccount("sho", "*"), ServiceAccount("shop", "we"))),),
    }
    port = node.serve(rule(prefix("/one")), rule(prefix("/two"), to(V2)))
    assert statuses(node, port, "/one") == [200, 403, 403]
    assert statuses(node, port, "/two") == [403, 403, 403]


@pytest.mark.parametrize("required", [(ONLY_WEB, ONLY_CART), (UNKNOWN,), (ONLY_WEB, UNKNOWN)])
def test_a_client_must_meet_all_requirements(node, required):
    node.requirements[V1] = required
    assert statuses(node, node.serve(rule(any_path()))) == [403, 403, 403]


def test_no_header_changes_who_the_client_is(node):
    node.requirements[V1] = (ONLY_WEB,)
    port = node.serve(rule(any_path()))
    forged = [
        ("weft.identity", "shop/web"),
        ("X-Forwarded-For", CLIENT),
        ("X-Envoy-External-Address", CLIENT),
        ("X-Real-IP", CLIENT),
        ("Forwarded", f"for={CLIENT}"),
        ("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/shop/sa/web"),
    ]
    assert statuses(node, port, headers=forged) == [200, 403, 403]


def test_each_share_has_the_requirements_of_its_backend(node):
    node.requirements[V1] = (ONLY_WEB,)
    port = node.serve(rule(any_path(), to(V1, V2)))
    found = [{source: set[str]()} for source in (CLIENT, OTHER_CLIENT)]
    for seen, source in zip(found, (CLIENT, OTHER_CLIENT), strict=True):
        with node.connection(port, source) as connection:
            seen[source] = {exchange(connection).pod for _ in range(60)}
    assert found == [{CLIENT: {"v1", "v2"}}, {OTHER_CLIENT: {"403", "v2"}}]


def test_a_change_holds_for_the_next_request_of_a_connection(node):
    node.requirements[V1] = (ONLY_WEB,)
    served = rule(any_path())
    name = node.add([served])
    port = node.serving(name)
    with node.connection(port) as web, node.connection(port, OTHER_CLIENT) as cart:
        assert (exchange(web).status, exchange(cart).status) == (200, 403)
        node.requirements[V1] = (ONLY_CART,)
        republish(node, name, served)
        assert (exchange(web).status, exchange(cart).status) == (403, 200)
        identify(node, {CLIENT: CART, OTHER_CLIENT: WEB})
        node.publish()
        wait_for("the identities are acknowledged", node.settled)
        assert (exchange(web).status, exchange(cart).status) == (200, 403)
        del node.requirements[V1]
        republish(node, name, served)
        assert (exchange(web).status, exchange(cart).status) == (200, 200)


def test_grpc_clients_get_permission_denied(node):
    node.requirements[V1_H2C] = (ONLY_CART,)
    assert call(node, [rule(GRPCRouteMatch(), to(V1_H2C))], "/a.B/C") == ["PERMISSION_DENIED"]
    node.requirements[V1_H2C] = (ONLY_WEB,)
    assert call(node, [rule(GRPCRouteMatch(), to(V1_H2C))], "/a.B/C") == ["v1"]


def test_an_authorization_server_gets_no_request_of_a_client_that_may_not_reach_it(node, server):
    with recorder(node, "authorizer") as authorizer:
        node.requirements[authorizer.backend] = (ONLY_WEB,)
        auth = ExternalAuth("HTTP", BackendObjectReference("authorizer", port=80), None, HTTPAuth())
        resolved = (Authorizer(authorizer.backend),)
        external = Filter("ExternalAuth", external_auth=auth)
        port = node.serve(rule(any_path(), to(server.backend), external, resolved=resolved))
        assert statuses(node, port) == [200, 403, 403]
        assert (len(authorizer.requests), len(server.requests)) == (1, 1)
        node.requirements = {server.backend: (ONLY_CART,)}
        port = node.serve(rule(any_path(), to(server.backend), external, resolved=resolved))
        assert statuses(node, port) == [403, 200, 403]
        assert (len(authorizer.requests), len(server.requests)) == (2, 2)


def test_copies_go_only_where_every_client_of_the_rule_may(node, server):
    with recorder(node, "copies") as copies:
        mirrored = rule(any_path(), to(server.backend), resolved=(Mirror(copies.backend, 1_000_000),))
        name = node.add([mirrored])
        port = node.serving(name)
        for server_s, copies_s, copied in (
            ((), (), True),
            ((ONLY_WEB,), (), True),
            ((ONLY_WEB,), (ONLY_WEB,), True),
            ((), (ONLY_WEB,), False),
            ((ONLY_WEB,), (ONLY_CART,), False),
        ):
            node.requirements = {server.backend: server_s, copies.backend: copies_s}
            republish(node, name, mirrored)
            before = len(copies.requests)
            assert node.ask(port).status == 200
            if copied:
                wait_for("the copy arrives", lambda then=before: len(copies.requests) > then)
        assert len(copies.requests) == 3


@pytest.fixture(scope="module")
def tls(made: WaypointNode) -> TLSNode:
    return TLSNode.of(made)


def test_tls_connections_reach_only_servers_that_admit_their_client(node, tls):
    with tls.server("open") as open_server, tls.server("closed") as closed:
        node.requirements[closed] = (ONLY_WEB,)

        def serve(names: str, *backends: BackendPort) -> TLSRule:
            return TLSRule(f"app/{names}", (names,), tuple(WeightedBackend(item, 1) for item in backends))

        port = tls.serve([serve("open", open_server), serve("closed", closed), serve("both", open_server, closed)])
        for source, allowed in ((CLIENT, True), (OTHER_CLIENT, False), (WITHOUT_IDENTITY, False)):
            assert tls.ask(port, "open", source) == "open open"
            assert (tls.ask(port, "closed", source) == "closed closed") is allowed
            assert (tls.ask(port, "both", source) != CLOSED) is allowed


def test_a_server_sees_nothing_of_a_tls_client_that_is_refused(node, tls):
    with node.own_socket() as listening:
        listening.bind((SERVERS, 0))
        listening.listen()
        listening.settimeout(0.3)
        backend = BackendPort("app", "silent", 443, "tcp")
        node.servers["silent"] = [listening.getsockname()[1]]
        node.requirements[backend] = (ONLY_WEB,)
        port = tls.serve([TLSRule("app/silent", (), (WeightedBackend(backend, 1),))])
        with suppress(OSError), tls.connection(port, "silent", OTHER_CLIENT):
            pass
        with pytest.raises(TimeoutError):
            listening.accept()


def identity(account: ServiceAccount | None) -> Identity | None:
    return account and Identity(account.namespace, account.name, Workload(account.namespace, "w", "w", "v1"))


def random_policies(draw: random.Random, name: str) -> list[Policy]:
    """The policies of a pod, for two ports."""
    choices = [None, {WEB}, {CART}, {WEB, CART}, {ServiceAccount("shop", "*")}, {ServiceAccount("cart", "x")}, set()]

    def random_rule() -> PolicyRule:
        sources = draw.choice(choices)
        ports = frozenset(draw.sample([8080, 8081], draw.randrange(3)))
        return PolicyRule(None if sources is None else frozenset(sources), ports)

    keys = [Key("AuthorizationPolicy", "app", f"{name}-{index}") for index in range(draw.randrange(3))]
    return [Policy(key, tuple(random_rule() for _ in range(draw.randrange(3)))) for key in keys]


def test_envoy_decides_as_random_policies_do(node):
    draw = random.Random(15)
    clients = [identity(account) for account in (WEB, CART, None)]
    rules, expected = [], []
    for number in range(80):
        backend = BackendPort("app", f"random{number}", 80)
        node.servers[backend.service] = node.servers["v1"]
        pods = [random_policies(draw, str(pod)) for pod in range(draw.randrange(1, 3))]
        required = {requirement(policies, 8080) for policies in pods}
        node.requirements[backend] = tuple(sorted(item for item in required if item is not None))
        rules.append(rule(prefix(f"/{number}"), to(backend)))
        expected.append([all(decide(policies, who, 8080).allowed for policies in pods) for who in clients])
    port = node.serve(*rules)
    assert [[status == 200 for status in statuses(node, port, f"/{number}")] for number in range(80)] == expected
