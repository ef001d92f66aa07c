"""What policies decide together, against the sentences of GEP-3779."""

from hypothesis import given
from hypothesis import strategies as st

from agent.ir.identity import Identity, Workload
from agent.ir.policy import ANY, Policy, PolicyRule, PolicyVerdict, ServiceAccount, decide
from agent.model.meta import Key

NAMESPACES, ACCOUNTS, PORTS = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.sampled_from([80, 81])
SOURCES = st.builds(ServiceAccount, NAMESPACES, ACCOUNTS | st.just(ANY))
RULES = st.builds(PolicyRule, st.none() | st.frozensets(SOURCES, max_size=2), st.frozensets(PORTS, max_size=2))
KEYS = st.builds(Key, st.just("AuthorizationPolicy"), st.just("a"), ACCOUNTS)
POLICIES = st.lists(st.builds(Policy, KEYS, st.lists(RULES).map(tuple)), max_size=3)


def client(namespace: str, account: str) -> Identity:
    return Identity(namespace, account, Workload(namespace, "w", "w", "v1"))


CLIENTS = st.none() | st.builds(client, NAMESPACES, ACCOUNTS | st.just(""))


@given(POLICIES, CLIENTS, PORTS)
def test_a_connection_is_allowed_by_no_policy_or_by_a_rule_of_any(
    policies: list[Policy], who: Identity | None, port: int
) -> None:
    def named(rule: PolicyRule) -> bool:
        if rule.sources is None:
            return True
        names = {(source.namespace, source.name) for source in rule.sources}
        return who is not None and bool(
            who.service_account and names & {(who.namespace, who.service_account), (who.namespace, ANY)}
        )

    rules = [rule for policy in policies for rule in policy.rules]
    expected = not policies or any(named(rule) and port in (rule.ports or {port}) for rule in rules)
    assert decide(policies, who, port).allowed is expected


def test_no_source_is_nobody_and_none_is_anybody() -> None:
    key = Key("AuthorizationPolicy", "a", "p")
    nobody, anybody = Policy(key, (PolicyRule(frozenset()),)), Policy(key, (PolicyRule(),))
    assert decide([nobody], client("a", "x"), 80) == PolicyVerdict(False, key)
    assert decide([anybody], None, 80) == PolicyVerdict(True, key, 0)


def test_the_policy_that_allows_is_named_and_else_the_first() -> None:
    shut = Policy(Key("AuthorizationPolicy", "a", "1"))
    open_ = Policy(Key("AuthorizationPolicy", "a", "2"), (PolicyRule(frozenset()), PolicyRule(), PolicyRule()))
    assert decide([shut, open_], None, 80) == PolicyVerdict(True, open_.key, 1)
    assert decide([shut], None, 80).policy == shut.key
    assert decide([], None, 80) == PolicyVerdict(True)
