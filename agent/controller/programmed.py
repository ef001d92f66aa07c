"""Whether nodes enforce an AuthorizationPolicy: its condition `Programmed`, from what their agents report. Pure.

A node enforces a policy that it lists in the generation of the policy and without a reason, and that it has processed.
One that has processed the policy and does not list it has no pods that the policy selects. While neither is known of a
node, the condition is `Unknown`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Any

from agent.ir.plan import Condition, ParentStatus
from agent.model.authorization import KIND
from agent.model.change import Change
from agent.model.meta import CONTROLLER_NAME, Key
from agent.model.policy_versions import PolicyVersions
from agent.model.weft_node import MAX_SELECTING, MAX_TEXT, NodePolicies, SelectingPolicy
from agent.telemetry.escape import escape

PROGRAMMED = "Programmed"
RECONCILING, PENDING, NO_NODES, AUDITED = "Reconciling", "Pending", "NoNodes", "Audited"
FAILURES = ("Unsupported", "Invalid", "BudgetExceeded", "NotAttached")
"""What agents report, the gravest first. Another word of an agent counts as the last."""
# The number of nodes that a message names.
NAMED = 3
# How many former states of all policies are remembered: nodes report in which of them they are.
MAX_STATES = 4096
NEVER = -1


@dataclass(frozen=True, slots=True)
class _Node:
    """The report of a node. `observed` is empty where its agent reports no policies, as earlier versions do."""

    observed: str = ""
    is_whole: bool = True
    selecting: Mapping[Key, SelectingPolicy] = field(default_factory=dict)


class PolicyReports:
    """What all nodes report of policies, and the versions of policies to which that is compared."""

    def __init__(self) -> None:
        self._versions = PolicyVersions()
        # Each change of any policy leads to another state. States by their digest, and policies, have the number of the
        # change: a node in a state knows the policies that have not changed since.
        self._states: dict[str, int] = {self._versions.digest: 0}
        self._changed: dict[Key, int] = {}
        self._last = 0
        self._nodes: dict[str, _Node] = {}
        self._selecting: dict[Key, set[str]] = {}

    def observe(self, change: Change) -> set[Key]:
        """A change, of a policy or of something else. Returns the policies that it may make a difference to."""
        policy = self._versions.apply(change)
        if policy is None:
            return set()
        self._last += 1
        state = self._versions.digest
        # A node may have been in this state before the controller.
        is_awaited = state not in self._states and any(node.observed == state for node in self._nodes.values())
        self._states.pop(state, None)
        self._states[state] = self._last
        if len(self._states) > MAX_STATES:
            del self._states[next(iter(self._states))]
        if self._versions.version(policy) is None:
            self._changed.pop(policy, None)
        else:
            self._changed[policy] = self._last
        return {policy, *self._changed} if is_awaited else {policy}

    def replace(self, node: str, report: NodePolicies | None) -> set[Key]:
        """The report of a node; None: its agent reports no policies. Returns the policies that it may make a
        difference to.
        """
        before = self._nodes.get(node)
        after = _node(report)
        if before == after:
            return set()
        self._nodes[node] = after
        return self._moved(node, before, after)

    def remove(self, node: str) -> set[Key]:
        """The node is gone. Returns the policies that it may make a difference to."""
        before = self._nodes.pop(node, None)
        return self._moved(node, before, None) if before is not None else set()

    def condition(self, policy: Key, generation: int, was_programmed: bool) -> Condition:
        """The condition of a policy in this generation.

        `was_programmed`: it is stored as `True` for this generation. Then only a node that reports the contrary changes
        it, so that neither a node that joins nor a controller that starts makes the conditions of all policies change.
        """
        version = self._versions.version(policy)
        if version is not None and version.is_audited:
            text = "a dry run: no node enforces it"
            return Condition(PROGRAMMED, False, AUDITED, text, generation)
        if not self._nodes:
            return Condition(PROGRAMMED, None, NO_NODES, "no node reports", generation)
        if failing := self._failing(policy, generation):
            reason = min((reason for reason, _ in failing.values()), key=_gravity)
            named = {node: text for node, (_, text) in failing.items()}
            return Condition(PROGRAMMED, False, reason, f"not enforced on {_list(named)}", generation)
        if not was_programmed and (text := self._unknown(policy)):
            return Condition(PROGRAMMED, None, PENDING, text, generation)
        text = "enforced on every node with pods that it selects"
        return Condition(PROGRAMMED, True, PROGRAMMED, text, generation)

    def _failing(self, policy: Key, generation: int) -> dict[str, tuple[str, str]]:
        """The nodes that list the policy and do not enforce this generation, with reason and text."""
        found: dict[str, tuple[str, str]] = {}
        for name in sorted(self._selecting.get(policy, ())):
            item = self._nodes[name].selecting[policy]
            if item.generation != generation:
                found[name] = RECONCILING, f"generation {item.generation} is in force"
            elif item.reason:
                reason = item.reason if item.reason in FAILURES else FAILURES[-1]
                found[name] = reason, escape(item.message or item.reason)[:MAX_TEXT]
        return found

    def _unknown(self, policy: Key) -> str:
        """Of which nodes it is not known whether they enforce the policy; empty if it is known of all."""
        if silent := nsmallest(NAMED + 1, (name for name, node in self._nodes.items() if not node.observed)):
            # Without their number, which changes with each node of an upgrade, and with it the status of every policy.
            more = " and more" if len(silent) > NAMED else ""
            return f"the agents of these nodes report no policies: {', '.join(silent[:NAMED])}{more}"
        lagging = self._lagging(policy)
        return f"not known of {_list(lagging)}" if lagging else ""

    def _lagging(self, policy: Key) -> dict[str, str]:
        """The nodes of which it is not known whether the policy selects pods there, with the reason."""
        since, found = self._changed.get(policy, self._last + 1), dict[str, str]()
        for name, node in sorted(self._nodes.items()):
            if self._state(node) < since:
                found[name] = "it has not reported this version yet"
            elif not node.is_whole and policy not in node.selecting:
                found[name] = f"more than {MAX_SELECTING} policies select its pods"
        return found

    def _state(self, node: _Node) -> int:
        """The number of the state in which a node is; `NEVER` where the state is not known."""
        return self._states.get(node.observed, NEVER)

    def _moved(self, name: str, before: _Node | None, after: _Node | None) -> set[Key]:
        found = [node for node in (before, after) if node is not None]
        old, new = (dict(node.selecting) if node else {} for node in (before, after))
        for policy in old.keys() - new.keys():
            self._selecting[policy].discard(name)
            if not self._selecting[policy]:
                del self._selecting[policy]
        for policy in new:
            self._selecting.setdefault(policy, set()).add(name)
        touched = {policy for policy in old.keys() | new.keys() if old.get(policy) != new.get(policy)}
        if len(self._nodes) <= 1 or not all(node.is_whole for node in found):
            return touched | self._changed.keys()
        least = min(map(self._state, found))
        return touched | {policy for policy, since in self._changed.items() if since > least}


def with_programmed(
    reports: PolicyReports, policy: Key, statuses: Sequence[ParentStatus], stored: Sequence[Any]
) -> tuple[ParentStatus, ...]:
    """Statuses of a policy, with the condition where it is accepted. `stored` has its entries in the API."""
    return tuple(
        replace(status, conditions=(*status.conditions, _condition(reports, policy, status.generation, stored)))
        if all(condition.status for condition in status.conditions)
        else status
        for status in statuses
    )


def _condition(reports: PolicyReports, policy: Key, generation: int, stored: Sequence[Any]) -> Condition:
    ours = [item for item in stored if isinstance(item, dict) and item.get("controllerName") == CONTROLLER_NAME]
    was_programmed = any(
        (item.get("type"), item.get("status"), item.get("observedGeneration")) == (PROGRAMMED, "True", generation)
        for entry in ours
        for item in entry.get("conditions") or ()
        if isinstance(item, dict)
    )
    return reports.condition(policy, generation, was_programmed)


def _node(report: NodePolicies | None) -> _Node:
    """The report within the bounds of the schema: whoever has a node's credentials can write its WeftNode."""
    if report is None:
        return _Node()
    listed = report.selecting[:MAX_SELECTING]
    selecting = {Key(KIND, item.namespace, item.name): item for item in listed}
    return _Node(report.observed, report.count <= len(listed), selecting)


def _gravity(reason: str) -> int:
    return FAILURES.index(reason) if reason in FAILURES else len(FAILURES)


def _list(nodes: Mapping[str, str]) -> str:
    """The number of nodes, and the first with the reason of each."""
    named = "; ".join(f"{node}: {text}" for node, text in list(nodes.items())[:NAMED])
    more = f"; and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    return f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}: {named}{more}"
