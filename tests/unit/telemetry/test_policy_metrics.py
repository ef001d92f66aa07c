"""`weft_authz_total`: what policies decided, by policy, end and mode."""

from agent.datapath.verdicts import Verdicts
from agent.ir.authorization import ServerPlan, VerdictCounts
from agent.ir.tables import Reason, address_bytes
from agent.model.meta import Key
from agent.node.metrics import current_verdicts
from agent.telemetry.metrics import Metrics
from support.fakes.kernel import FakeKernel, InterruptedWriteError

ADDRESS = address_bytes("10.1.0.5")
PLAN = ServerPlan(Key("Pod", "shop", "web"), ("10.1.0.5",), (), (Key("AuthorizationPolicy", "shop", "a"),))


def lines(metrics: Metrics) -> list[str]:
    return sorted(line for line in metrics.render().splitlines() if line.startswith("weft_authz"))


def test_each_end_has_its_series():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    metrics = Metrics("0", lambda: {Reason.POLICY_FORBIDS: 3})
    at_waypoint = {("shop/b", "refused", "waypoint", "audit"): 4}
    metrics.register_authorization(lambda: current_verdicts(verdicts), lambda: at_waypoint)
    client = 'weft_authz_total{end="client",mode="enforce",policy="",verdict="refused"} 3.0'
    waypoint = 'weft_authz_total{end="waypoint",mode="audit",policy="shop/b",verdict="refused"} 4.0'
    assert lines(metrics) == [client, waypoint]
    verdicts.want({7: PLAN}, {7: PLAN})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=2, audit_allowed=1)
    assert lines(metrics) == [
        client,
        'weft_authz_total{end="server",mode="audit",policy="shop/a",verdict="allowed"} 1.0',
        'weft_authz_total{end="server",mode="enforce",policy="shop/a",verdict="refused"} 2.0',
        waypoint,
    ]


def test_a_kernel_that_cannot_be_read_leaves_what_was_counted():
    kernel = FakeKernel()
    verdicts = Verdicts(kernel.verdicts)
    verdicts.want({7: PLAN}, {})
    kernel.verdicts.rows[ADDRESS] = VerdictCounts(refused=2)
    before = current_verdicts(verdicts)

    def fail() -> dict[bytes, VerdictCounts]:
        raise InterruptedWriteError

    kernel.verdicts.load = fail  # type: ignore[method-assign]
    assert current_verdicts(verdicts) == before == {("shop/a", "refused", "server", "enforce"): 2}
