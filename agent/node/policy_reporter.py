"""What a WeftNode says of AuthorizationPolicies: which select pods of the node, and whether it enforces them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from msgspec import UNSET, UnsetType

from agent.kernel.network_links import ATTACHED
from agent.kernel.pod_links import NOT_FOUND
from agent.model.authorization import KIND, UndecodableAuthorizationPolicy
from agent.model.meta import Key
from agent.model.weft_node import MAX_SELECTING, MAX_TEXT, NodePolicies, SelectingPolicy
from agent.node.authorization_controller import Enforced, Guards
from agent.store.store import Store, TrackedView
from agent.telemetry.escape import escape

UNSUPPORTED, INVALID, BUDGET_EXCEEDED, NOT_ATTACHED = "Unsupported", "Invalid", "BudgetExceeded", "NotAttached"
"""The reasons why a node does not enforce a policy."""
# A pod that starts has no process yet, and one that ends has none any more: neither has anything to protect.
NOT_FOUND_SECONDS = 5.0


class _Pod(NamedTuple):
    """A pod that policies select, and why they are not enforced there; empty where they are."""

    pod: Key
    policies: Mapping[Key, int]
    reason: str = ""
    text: str = ""


class Authorization(Protocol):
    """What the kernel has of policies."""

    @property
    def guards(self) -> Guards:
        """The programs in pods."""

    @property
    def enforced(self) -> Enforced | None:
        """Since the last complete step; None before the first."""

    @property
    def rejected(self) -> Mapping[str, str]:
        """What does not fit into the tables, with the reason; of a pod by `policies of POD`."""


class PolicyReporter:
    """Makes the report. The node has processed a policy when the kernel has it, and Envoys have all changes until then,
    or refuse them.
    """

    def __init__(
        self,
        store: Store,
        authorization: Authorization,
        reconciling: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        """`reconciling` says whether changes are on their way to connected Envoys; `clock` is in seconds."""
        self._store = store
        self._authorization = authorization
        self._reconciling = reconciling
        self._clock = clock
        self._missing: dict[int, float] = {}
        self._observed = ""

    def report(self, envoys_known: bool) -> NodePolicies | UnsetType:
        """The report; UNSET until the node has processed all policies for the first time.

        `envoys_known`: the Envoys that run are connected. One that is not yet, after a start of the agent, may enforce
        former policies.
        """
        enforced = self._authorization.enforced
        if enforced is None:
            return UNSET
        if envoys_known and not self._reconciling():
            self._observed = enforced.observed
        if not self._observed:
            return UNSET
        pods = [*_pods(enforced, self._states(enforced), self._authorization.rejected)]
        return node_policies(self._observed, pods, self._undecodable({key for pod in pods for key in pod.policies}))

    def _states(self, enforced: Enforced) -> dict[int, str]:
        """The states of guards. A pod without a process counts only after some time."""
        now, states = self._clock(), self._authorization.guards.states
        missing = [cgroup for cgroup in enforced.servers if states.get(cgroup) == NOT_FOUND]
        self._missing = {cgroup: self._missing.get(cgroup, now) for cgroup in missing}
        young = {cgroup for cgroup, since in self._missing.items() if now < since + NOT_FOUND_SECONDS}
        return {cgroup: state for cgroup, state in states.items() if cgroup not in young}

    def _undecodable(self, policies: Collection[Key]) -> list[UndecodableAuthorizationPolicy]:
        """Those of the policies that this agent cannot decode: they may be for a later version."""
        view = TrackedView(self._store)
        found = (view.get(UndecodableAuthorizationPolicy, key.namespace, key.name) for key in policies)
        return [item for item in found if item is not None]


def node_policies(
    observed: str, pods: Iterable[_Pod], undecodable: Iterable[UndecodableAuthorizationPolicy]
) -> NodePolicies:
    """The report of these pods, at most `MAX_SELECTING` policies: those that are not enforced first. Of several pods
    the first at which a policy is not enforced is named.
    """
    found: dict[Key, SelectingPolicy] = {}
    for pod in sorted(pods, key=lambda pod: (not pod.reason, pod.pod)):
        for key, generation in pod.policies.items():
            text = f"{pod.pod.namespace}/{pod.pod.name}: {pod.text}" if pod.reason else ""
            found.setdefault(key, _selecting(key, generation, pod.reason, text))
    for item in undecodable:
        # An earlier generation may be in force. The reason is about this one.
        text = f"this node's version of weft: {item.field}: {item.message}"
        found[item.policy] = _selecting(item.policy, item.generation, INVALID, text)
    ordered = sorted(found.values(), key=lambda item: (not item.reason, item.namespace, item.name))
    return NodePolicies(observed, len(ordered), tuple(ordered[:MAX_SELECTING]))


def _selecting(key: Key, generation: int, reason: str, message: str) -> SelectingPolicy:
    text = escape(message).encode("ascii", "backslashreplace").decode()[:MAX_TEXT]
    return SelectingPolicy(key.namespace, key.name, generation, reason, text)


def _pods(enforced: Enforced, states: Mapping[int, str], rejected: Mapping[str, str]) -> Iterator[_Pod]:
    """The pods that AuthorizationPolicies select. A pod whose guard has not been looked at has just started."""
    for cgroup, plan in enforced.servers.items():
        policies = _generations(plan.policies, plan.generations)
        state = states.get(cgroup, ATTACHED)
        if refusal := rejected.get(f"policies of {plan.pod}"):
            yield _Pod(plan.pod, policies, BUDGET_EXCEEDED, refusal)
        elif state == ATTACHED:
            yield _Pod(plan.pod, policies)
        else:
            unsupported = state.startswith("unsupported")
            yield _Pod(plan.pod, policies, UNSUPPORTED if unsupported else NOT_ATTACHED, state)
    for pod in enforced.unsupported.values():
        yield _Pod(pod.pod, _generations(pod.policies, pod.generations), UNSUPPORTED, pod.reason)


def _generations(policies: tuple[Key, ...], generations: tuple[int, ...]) -> dict[Key, int]:
    """Of AuthorizationPolicies only: the default of the mesh is none."""
    return {key: number for key, number in zip(policies, generations, strict=True) if key.kind == KIND}
