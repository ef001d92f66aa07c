"""Whose connections to the waypoint end when policies change, and when."""

from collections.abc import Mapping

from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, TLSListenerIR, TLSRule, WeightedBackend
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.ir.request_conditions import RequestConditions
from agent.ir.requirements import UNKNOWN, RequestRule, Requirement, Requirements
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.waypoint_state import ClientsRevoked
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch
from agent.translate.filters.request_mirror import Mirror
from agent.translate.incremental import CLIENT_ALLOW_LIST, SERVICES, Unit
from agent.waypoint.revocations import Revocations, revoked

ALICE, BOB = ServiceAccount("shop", "alice"), ServiceAccount("shop", "bob")
ADDRESSES = {"10.0.0.1": ALICE, "10.0.0.2": BOB}
BOTH, ONLY_ALICE, CLOSED = (Requirement((), clients) for clients in ((ALICE, BOB), (ALICE,), ()))
GET = Requirement((), (), (RequestRule(RequestConditions(("GET",)), anyone=True),))
WEB, OTHER = BackendPort("shop", "web", 80), BackendPort("shop", "other", 80)
BLUE, GREEN = (Envoy(number, name, Addresses(f"10.9.0.{number}")) for number, name in ((1, "blue"), (2, "green")))
ROUTE = ResourceName(ResourceType.ROUTE, "shop/web:80")
NEEDS = {"shop/web:80": frozenset({ROUTE})}
PORTS = {"shop/web:80": 20000}
UNIT, CLIENTS = Unit(SERVICES, Key("Service", "shop", "web")), Unit(CLIENT_ALLOW_LIST, Key("Node", "", ""))


def http(*backends: BackendPort, copies: tuple[BackendPort, ...] = ()) -> HTTPListenerIR:
    mirrors = tuple(Mirror(item, 1_000_000) for item in copies)
    shares = tuple(WeightedBackend(item, 1) for item in backends)
    return HTTPListenerIR("shop/web:80", "", 80, False, (Rule("r", HTTPRouteMatch(), (), shares, resolved=mirrors),))


def tls(*backends: BackendPort) -> TLSListenerIR:
    rules = (TLSRule("r", (), tuple(WeightedBackend(item, 1) for item in backends)),)
    return TLSListenerIR("shop/web:80", "", rules)


class Waypoint:
    """Envoys that answer at once, unless they are told not to."""

    def __init__(self) -> None:
        self.made, self.number = Revocations(), 0
        self.take(CLIENTS, Output(client_allow_lists={"": tuple(ADDRESSES)}, accounts=ADDRESSES))

    def take(self, unit: Unit, output: Output) -> None:
        self.number += 1
        self.made.take({unit: (Output(), output)}, self.number)

    def require(
        self, found: Mapping[BackendPort, Requirements], listener: HTTPListenerIR | TLSListenerIR | None = None
    ) -> None:
        """The requirements of the listener's backends; one that is not among them has no endpoint."""
        served = listener or http(*found)
        endpoints = {item: (("10.1.0.1", 8080),) if item in found else () for item in served.backends}
        requirements = {item: required for item, required in found.items() if required}
        self.take(UNIT, Output(listeners={served.name: served}, endpoints=endpoints, requirements=requirements))

    def ended(
        self, *envoys: Envoy, silent: tuple[Envoy, ...] = (), published: int | None = None
    ) -> list[ClientsRevoked]:
        answered = {envoy: frozenset({ROUTE}) for envoy in envoys or (BLUE,)} | {envoy: frozenset() for envoy in silent}
        return revoked(self.made.due(self.number if published is None else published, NEEDS, answered, PORTS))

    def addresses(self) -> set[str]:
        """Those of known clients whose connections end now."""
        found = self.ended()
        return {at for at in ADDRESSES for item in found if (at in item.clients) is not item.all_but}


def test_connections_of_a_client_end_that_is_not_admitted_any_more() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (BOTH,)})
    assert waypoint.ended() == []
    waypoint.require({WEB: (ONLY_ALICE,)})
    assert waypoint.ended() == [ClientsRevoked("10.9.0.1", 20000, frozenset({"10.0.0.2"}))]
    assert (waypoint.ended(), waypoint.made.waiting) == ([], False)
    waypoint.require({WEB: (BOTH,)})
    assert waypoint.addresses() == set()


def test_clients_that_are_not_known_lose_what_everybody_had() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: ()})
    assert waypoint.ended() == []
    waypoint.require({WEB: (ONLY_ALICE,)})
    assert waypoint.ended() == [ClientsRevoked("10.9.0.1", 20000, frozenset({"10.0.0.1"}), all_but=True)]


def test_what_a_rule_about_requests_takes_ends_connections_of_its_clients_only() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (Requirement((), (ALICE,), GET.rules),)})
    assert waypoint.addresses() == set()
    waypoint.require({WEB: (ONLY_ALICE,)})
    assert waypoint.addresses() == {"10.0.0.2"}


def test_connections_end_at_each_envoy_once_it_has_answered() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (BOTH,)})
    waypoint.ended(BLUE, GREEN)
    waypoint.require({WEB: (ONLY_ALICE,)})
    assert waypoint.ended(BLUE, GREEN, published=waypoint.number - 1) == []
    assert [item.address for item in waypoint.ended(BLUE, silent=(GREEN,))] == ["10.9.0.1"]
    assert waypoint.ended(BLUE, silent=(GREEN,)) == []
    assert [item.address for item in waypoint.ended(BLUE, GREEN)] == ["10.9.0.2"]
    assert not waypoint.made.waiting


def test_what_is_taken_and_given_back_before_envoy_has_answered_ends_nothing() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (BOTH,)})
    waypoint.ended()
    waypoint.require({WEB: (ONLY_ALICE,)})
    waypoint.require({WEB: (BOTH,)})
    assert waypoint.ended() == []


def test_after_a_start_connections_of_clients_end_that_no_backend_admits() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (ONLY_ALICE,), OTHER: (CLOSED,)})
    assert waypoint.addresses() == {"10.0.0.2"}
    waypoint = Waypoint()
    waypoint.require({WEB: (ONLY_ALICE,), OTHER: ()})
    assert waypoint.addresses() == set()
    waypoint = Waypoint()
    waypoint.require({WEB: (GET,)})
    assert waypoint.addresses() == set()


def test_what_is_not_known_for_a_while_ends_nothing_and_what_it_becomes_is_compared_with_what_was() -> None:
    for unknown in ({WEB: (UNKNOWN,)}, {}):
        for after, ended in ((BOTH, set()), (ONLY_ALICE, {"10.0.0.2"})):
            waypoint = Waypoint()
            waypoint.require({WEB: (BOTH,)})
            waypoint.require(unknown, http(WEB))
            assert waypoint.addresses() == set()
            waypoint.require({WEB: (after,)})
            assert waypoint.addresses() == ended


def test_policies_of_backends_that_get_copies_end_nothing() -> None:
    waypoint = Waypoint()
    for copied in (BOTH, CLOSED):
        waypoint.require({WEB: (BOTH,), OTHER: (copied,)}, http(WEB, copies=(OTHER,)))
        assert waypoint.addresses() == set()


def test_connections_with_tls_are_judged_by_all_their_backends() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (BOTH,), OTHER: (BOTH,)}, tls(WEB, OTHER))
    waypoint.ended()
    waypoint.require({WEB: (BOTH,), OTHER: (ONLY_ALICE,)}, tls(WEB, OTHER))
    assert waypoint.addresses() == {"10.0.0.2"}


def test_a_listener_that_is_gone_is_forgotten() -> None:
    waypoint = Waypoint()
    waypoint.require({WEB: (BOTH,)})
    waypoint.require({WEB: (ONLY_ALICE,)})
    waypoint.take(UNIT, Output())
    assert (waypoint.made.waiting, waypoint.ended()) == (False, [])
