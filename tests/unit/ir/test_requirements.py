"""What the waypoint asks of a client is what the policies of the endpoints decide."""

from hypothesis import given
from hypothesis import strategies as st
from unit.ir.test_policy import CLIENTS, POLICIES, PORTS, client

from agent.ir.identity import Identity
from agent.ir.policy import Policy, PolicyRule, ServiceAccount, decide
from agent.ir.request import Request
from agent.ir.request_conditions import PathCondition, RequestConditions
from agent.ir.requirements import UNKNOWN, RequestRule, Requirement, narrowed, requirement, requirements, unmet
from agent.model.meta import Key

WEB, CART = ServiceAccount("a", "web"), ServiceAccount("a", "cart")
GET = RequestConditions(("GET",))


@given(POLICIES, CLIENTS, PORTS)
def test_a_client_meets_a_requirement_when_the_policies_allow_its_connection(
    policies: list[Policy], who: Identity | None, port: int
) -> None:
    found = requirement(policies, port)
    assert (found is None or found.allows(who)) is decide(policies, who, port).allowed


@given(st.permutations([Policy(Key("AuthorizationPolicy", "a", name)) for name in "xyz"]))
def test_the_order_of_policies_makes_no_difference(policies: list[Policy]) -> None:
    assert requirement(policies, 80) == requirement(sorted(policies, key=lambda item: item.key), 80)


def test_a_rule_without_sources_admits_every_client_at_its_ports_only() -> None:
    policies = [Policy(Key("AuthorizationPolicy", "a", "p"), (PolicyRule(ports=frozenset({80})),))]
    assert requirement(policies, 80) is None
    assert requirement(policies, 81) == Requirement((policies[0].key,), ())


def test_the_first_requirement_that_is_not_met_is_named() -> None:
    one, two = (Requirement((), (ServiceAccount(name, "x"),)) for name in ("a", "b"))
    assert unmet((one, two), client("a", "x")) == two
    assert unmet((one,), client("a", "x")) is None
    assert unmet((one, UNKNOWN), client("a", "x")) == UNKNOWN
    assert unmet((), None) is None


def test_each_level_has_a_requirement_of_its_own() -> None:
    network = Policy(Key("AuthorizationPolicy", "a", "n"), (PolicyRule(frozenset({WEB})),))
    key = Key("AuthorizationPolicy", "a", "r")
    web, anyone, cart = frozenset({WEB}), None, frozenset({CART})
    rules = (PolicyRule(web, conditions=GET), PolicyRule(anyone, frozenset({81}), GET), PolicyRule(cart))
    application = Policy(key, rules, application=True)
    required = Requirement((key,), (CART,), (RequestRule(GET, (WEB,)),))
    assert requirements([network, application], 80) == tuple(sorted((Requirement((network.key,), (WEB,)), required)))
    assert requirements([application], 80) == (required,)
    (open_,) = requirements([application], 81)
    assert set(open_.rules) == {RequestRule(GET, (WEB,)), RequestRule(GET, anyone=True)}


def test_a_rule_for_nobody_admits_nothing() -> None:
    key = Key("AuthorizationPolicy", "a", "r")
    policy = Policy(key, (PolicyRule(frozenset(), conditions=GET),), application=True)
    assert requirements([policy], 80) == (Requirement((key,)),)


def test_what_a_request_lacks_is_said_by_the_rule_that_comes_nearest() -> None:
    conditions = RequestConditions(("PUT",), (PathCondition("/a"),), (("x", "1"),))
    required = Requirement((), (), (RequestRule(conditions, (WEB,)), RequestRule(GET, (WEB,))))
    web = client("a", "web")
    assert required.missed(web, Request("POST", "h", "/b")) == "the method is not GET"
    assert required.missed(web, Request("PUT", "h", "/a")) in ("the header x is not '1'", "the method is not GET")
    assert required.missed(client("a", "cart"), Request("PUT", "h", "/a")) == ""
    assert required.missed(web, None) == "its rules for this client are about HTTP requests"
    assert not required.allows(web)
    assert required.allows(web, Request("GET", "h", "/b"))


def test_names_have_no_spaces() -> None:
    keys = tuple(Key("AuthorizationPolicy", "app", name) for name in ("a", "b"))
    assert Requirement(keys).name == "app/a+app/b"
    assert Requirement((Key("MeshParameters", "", "default"),)).name == "MeshParameters/default"
    assert Requirement((Key("MeshParameters", "", "default"),)).name == "MeshParameters/default"
    assert UNKNOWN.name == "unknown"


METHODS = st.lists(st.sampled_from(["GET", "PUT"]), max_size=2).map(tuple)
PATHS = st.lists(st.builds(PathCondition, st.sampled_from(["/a", "/a/b", ""]), st.booleans()), max_size=2).map(tuple)
HEADERS = st.lists(st.tuples(st.just("x-h"), st.sampled_from("12")), max_size=1).map(tuple)
CONDITIONS = st.builds(RequestConditions, METHODS, PATHS, HEADERS)
SOME = st.lists(st.sampled_from([WEB, CART]), max_size=2, unique=True).map(tuple)
REQUIREMENTS = st.lists(
    st.builds(
        Requirement, st.just(()), SOME, st.lists(st.builds(RequestRule, CONDITIONS, SOME, st.booleans()), max_size=3)
    ),
    max_size=2,
).map(tuple)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["GET", "PUT"]),
    st.just("h"),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/a//"]),
    HEADERS,
)


@given(REQUIREMENTS, REQUIREMENTS, st.lists(REQUESTS), st.sampled_from([None, client("a", "web"), client("a", "x")]))
def test_what_a_client_loses_is_never_missed(
    before: tuple[Requirement, ...], after: tuple[Requirement, ...], sent: list[Request], who: Identity | None
) -> None:
    lost = [one for one in sent if unmet(before, who, one) is None and unmet(after, who, one) is not None]
    assert narrowed(before, after, who) or not lost
    assert not narrowed(before, before, who)
    assert not narrowed(before, (), who)


def test_rules_that_admit_more_take_nothing() -> None:
    def of(*conditions: RequestConditions, clients: tuple[ServiceAccount, ...] = ()) -> tuple[Requirement, ...]:
        return (Requirement((), clients, tuple(RequestRule(item, anyone=True) for item in conditions)),)

    page, pages = (RequestConditions(("GET",), (PathCondition("/a", exact),)) for exact in (True, False))
    header = RequestConditions(("GET",), (PathCondition("/a"),), (("x-h", "1"),))
    for narrow, wide in ((page, pages), (header, page), (page, GET), (pages, RequestConditions())):
        assert not narrowed(of(narrow), of(wide), None)
        assert narrowed(of(wide), of(narrow), None)
        assert not narrowed(of(narrow), of(header, wide), None)
    assert not narrowed(of(page), of(clients=(WEB,)), client("a", "web"))
    assert narrowed(of(page), of(clients=(WEB,)), client("a", "x"))
    assert narrowed((), of(page), None)
