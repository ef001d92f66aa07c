"""What the kernel counted at addresses, by policies: nothing twice, nothing lost, nothing of another policy."""

from agent.datapath.verdicts import MOST_COMBINATIONS, Verdicts
from agent.ir.authorization import ServerPlan, VerdictCounts
from agent.ir.policy import MOST_NAMES
from agent.ir.tables import address_bytes
from agent.model.meta import Key
from support.fakes.kernel import FakeKernel

ADDRESS = address_bytes("10.1.0.5")


def plan(*names: str, address: str = "10.1.0.5") -> dict[int, ServerPlan]:
    policies = tuple(Key("AuthorizationPolicy", "shop", name) for name in names)
    return {7: ServerPlan(Key("Pod", "shop", "web"), (address,), (), policies)}


def totals(verdicts: Verdicts) -> dict[tuple[str, str, str], int]:
    verdicts.read()
    return {tuple(labels): count for labels, count in verdicts.totals.items()}


def test_counts_are_added_to_the_policies_that_the_address_has():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    verdicts.want(plan("a", "b"), plan("c"))
    assert (verdicts.audited_at(ADDRESS), verdicts.audited_at(address_bytes("10.1.0.9"))) == ("shop/c", None)
    assert kernel.verdicts.rows == {ADDRESS: VerdictCounts()}
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(1, 2, 3, 4)
    expected = {
        ("shop/a+shop/b", "allowed", "enforce"): 1,
        ("shop/a+shop/b", "refused", "enforce"): 2,
        ("shop/c", "allowed", "audit"): 3,
        ("shop/c", "refused", "audit"): 4,
    }
    assert totals(verdicts) == expected
    assert totals(verdicts) == expected, "each once"
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(1, 5, 3, 4)
    assert totals(verdicts)["shop/a+shop/b", "refused", "enforce"] == 5


def test_what_was_counted_before_a_change_belongs_to_the_former_policies():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    verdicts.want({}, plan("a"))
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(audit_refused=2)
    verdicts.want(plan("a"), {})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=3, audit_refused=2)
    assert totals(verdicts) == {("shop/a", "refused", "audit"): 2, ("shop/a", "refused", "enforce"): 3}


def test_the_default_of_the_mesh_has_the_name_of_its_object():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    default = ServerPlan(Key("Pod", "shop", "web"), ("10.1.0.5",), (), (Key("MeshParameters", "", "default"),))
    verdicts.want({7: default}, {})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=1)
    assert totals(verdicts) == {("MeshParameters/default", "refused", "enforce"): 1}


def test_an_address_without_policies_has_no_row_and_begins_anew():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    verdicts.want(plan("a"), {})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=2)
    verdicts.want({}, {})
    assert not kernel.verdicts.rows
    verdicts.want(plan("a"), {})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=1)
    assert totals(verdicts) == {("shop/a", "refused", "enforce"): 3}


def test_what_was_counted_while_no_agent_ran_is_added():
    kernel = FakeKernel()
    kernel.verdicts.rows = {ADDRESS: VerdictCounts(refused=4), address_bytes("10.1.0.9"): VerdictCounts(refused=9)}
    verdicts = Verdicts(kernel.verdicts)
    assert totals(verdicts) == {}
    verdicts.want(plan("a"), {})
    assert totals(verdicts) == {("shop/a", "refused", "enforce"): 4}
    assert set(kernel.verdicts.rows) == {ADDRESS}


def test_a_tenant_that_makes_policies_all_the_time_gets_no_more_series_than_there_are_for_all():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    for number in range(MOST_COMBINATIONS + 3):
        verdicts.want(plan(f"p{number}"), {})
        kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=number + 1)
    found = totals(verdicts)
    assert len(found) == MOST_COMBINATIONS + 1
    assert (found["shop/p0", "refused", "enforce"], found["other", "refused", "enforce"]) == (1, 3)


def test_a_name_has_some_of_many_policies():
    verdicts = Verdicts(FakeKernel().verdicts)
    verdicts.want({}, plan(*(f"p{number:02}" for number in range(MOST_NAMES + 2))))
    name = verdicts.audited_at(ADDRESS)
    assert name is not None
    assert (name.count("shop/"), name.endswith("shop/p15+2-more")) == (MOST_NAMES, True)
