"""What a node reports of policies: those that select its pods, and whether it enforces them."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from agent.ir.authorization import ServerPlan, UnsupportedPod
from agent.kernel.pod_links import NOT_FOUND, UNSEEN
from agent.model.authorization import KIND, UndecodableAuthorizationPolicy
from agent.model.change import Upsert
from agent.model.meta import Key
from agent.model.weft_node import MAX_SELECTING, MAX_TEXT, NodePolicies, SelectingPolicy
from agent.node.authorization_controller import Enforced
from agent.node.policy_reporter import NOT_FOUND_SECONDS, PolicyReporter
from agent.store.store import Store

OBSERVED, LATER = "0" * 32, "1" * 32
DEFAULT = Key("MeshParameters", "", "default")


def policy(name: str) -> Key:
    return Key(KIND, "app", name)


def server(pod: str, *policies: Key) -> ServerPlan:
    generations = tuple(range(1, len(policies) + 1))
    return ServerPlan(Key("Pod", "app", pod), (), (), policies, generations=generations)


@dataclass
class Node:
    """A node whose parts are set by hand."""

    enforced: Enforced | None = None
    rejected: dict[str, str] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    is_reconciling: bool = False
    now: float = 100.0
    store: Store = field(default_factory=Store)

    def __post_init__(self) -> None:
        self.guards: Any = self
        self.reporter = PolicyReporter(self.store, self, lambda: self.is_reconciling, lambda: self.now)

    def has(self, *servers: ServerPlan, observed: str = OBSERVED, unsupported: Any = ()) -> None:
        """The kernel has these pods; the guard of each is attached."""
        self.enforced = Enforced(observed, dict(enumerate(servers)), dict(enumerate(unsupported, 1000)))
        self.states = dict.fromkeys(self.enforced.servers, "attached")

    def report(self, envoys_known: bool = True) -> NodePolicies:
        found = self.reporter.report(envoys_known)
        assert isinstance(found, NodePolicies)
        assert msgspec.json.decode(msgspec.json.encode(found), type=NodePolicies) == found
        return found

    def why(self, name: str = "p") -> tuple[str, str]:
        (found,) = (item for item in self.report().selecting if item.name == name)
        return found.reason, found.message


@pytest.fixture
def node() -> Node:
    return Node()


def test_nothing_is_said_before_all_policies_are_processed(node: Node) -> None:
    assert node.reporter.report(True) is UNSET
    node.has(server("a", policy("p")))
    node.is_reconciling = True
    assert node.reporter.report(True) is UNSET
    node.is_reconciling = False
    assert node.report() == NodePolicies(OBSERVED, 1, (SelectingPolicy("app", "p", 1),))


def test_a_change_is_processed_when_envoys_have_it_too(node: Node) -> None:
    node.has()
    assert node.report().observed == OBSERVED
    node.has(observed=LATER)
    node.is_reconciling = True
    assert node.report().observed == OBSERVED
    node.is_reconciling = False
    assert node.report(envoys_known=False).observed == OBSERVED, "one that connects may have former policies"
    assert node.report().observed == LATER


def test_policies_of_the_node_s_pods_are_listed_once_and_the_default_is_none(node: Node) -> None:
    node.has(server("a", policy("p"), policy("q")), server("b", policy("p")), server("c", DEFAULT))
    found = [(item.name, item.generation, item.reason) for item in node.report().selecting]
    assert found == [("p", 1, ""), ("q", 2, "")]


def test_what_the_kernel_cannot_protect_is_named(node: Node) -> None:
    pod = UnsupportedPod(Key("Pod", "app", "host"), (policy("p"),), (1,), "a hostNetwork pod")
    node.has(server("a", policy("p")), unsupported=[pod])
    assert node.why() == ("Unsupported", "app/host: a hostNetwork pod")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (UNSEEN, "Unsupported"),
        ("not attached, trying again: no memory", "NotAttached"),
        ("unknown: the guards cannot be read: x", "NotAttached"),
    ],
)
def test_a_pod_without_a_guard_is_named(node: Node, state: str, reason: str) -> None:
    node.has(server("a", policy("p")), server("b", policy("p")), server("c", policy("q")))
    node.states[1] = state
    assert node.why() == (reason, f"app/b: {state}")
    assert node.why("q") == ("", "")
    assert [item.name for item in node.report().selecting] == ["p", "q"]


def test_a_pod_that_starts_or_ends_is_named_only_if_it_stays_without_a_process(node: Node) -> None:
    node.has(server("a", policy("p")))
    node.states = {}
    assert node.why() == ("", ""), "its guard has not been looked at"
    node.states = {0: NOT_FOUND}
    assert node.why() == ("", "")
    node.now += NOT_FOUND_SECONDS
    assert node.why() == ("NotAttached", f"app/a: {NOT_FOUND}")
    node.states = {0: "attached"}
    assert node.why() == ("", "")


def test_what_does_not_fit_into_the_tables_is_named(node: Node) -> None:
    plan = server("a", policy("p"))
    node.has(plan)
    node.rejected = {f"policies of {plan.pod}": "no room; the pod refuses all clients"}
    assert node.why() == ("BudgetExceeded", "app/a: no room; the pod refuses all clients")


def test_a_policy_that_this_version_cannot_decode_is_not_enforced_as_it_is_written(node: Node) -> None:
    node.has(server("a", policy("p"), policy("q")))
    node.store.apply([Upsert(UndecodableAuthorizationPolicy(policy("q"), 3, None, "spec.x", "is unknown"))])
    assert node.why("q") == ("Invalid", "this node's version of weft: spec.x: is unknown")
    assert [item.generation for item in node.report().selecting] == [3, 1], "of the one that is not in force"
    assert node.why("p") == ("", "")


def test_a_report_is_bounded_and_has_those_first_that_are_not_enforced(node: Node) -> None:
    node.has(*(server(f"a{number}", policy(f"p{number:04}")) for number in range(MAX_SELECTING + 20)))
    node.states[MAX_SELECTING + 19] = "not attached, trying again: \x1b[2J" + "x" * 10_000
    found = node.report()
    assert (found.count, len(found.selecting)) == (MAX_SELECTING + 20, MAX_SELECTING)
    assert (found.selecting[0].name, found.selecting[0].reason) == (f"p{MAX_SELECTING + 19:04}", "NotAttached")
    assert len(found.selecting[0].message) == MAX_TEXT
    assert found.selecting[0].message.isprintable()
