"""Which clients a pod of this node admits, and who it is as a client."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agent.ir.authorization import (
    WAYPOINTS,
    Destination,
    ServerPlan,
    UnsupportedPod,
    grants,
    peer_row,
    waypoint_id,
    waypoint_row,
)
from agent.ir.plan import Output
from agent.ir.policy import Audit, Policy, PolicyRule
from agent.model.core import Pod
from agent.model.facts import AccountPod, NodeReport, NodeWaypoints
from agent.model.meta import Key
from agent.model.parameters import KIND
from agent.store.store import TrackedView
from agent.translate.guarded import guarded_by, is_reported
from agent.translate.policies import audit_of, has_policies, policies_of


def translate_authorization(
    view: TrackedView, pod: Pod, cgroup: int, addresses: tuple[str, ...], runtime: str, node: str
) -> Output:
    """The plan of a pod that policies select, or else the mesh's default closes, and the identities of its addresses:
    none where its spec has no service account. `runtime` is its runtime where the kernel does not see the sockets of
    its pods; else empty. `node` is this node.
    """
    account = pod.spec.service_account_name
    peers = dict.fromkeys(addresses, peer_row(pod.metadata.namespace, account)) if account else {}
    policies, audit = policies_of(view, pod), audit_of(view, pod, application=False)
    if not policies and audit is None:
        return Output(peers=peers)
    if reason := not_enforced(pod, runtime):
        default = bool(policies) and all(policy.key.kind == KIND for policy in policies)
        what = f"the default of {policies[0].key} is" if default else "its policies are"
        text = f"{pod.key}: Unsupported, {what} not enforced: {reason}"
        keys, generations = tuple(it.key for it in policies), tuple(it.generation for it in policies)
        unsupported = {cgroup: UnsupportedPod(pod.key, keys, generations, reason)} if policies else {}
        return Output(peers=peers, unsupported=unsupported, warnings=(text,))
    servers, audited = dict[int, ServerPlan](), dict[int, ServerPlan]()
    if policies:
        # Waypoints of other nodes judge by what the API server has of this pod.
        reported = is_reported(view, addresses, policies, node)
        servers[cgroup] = _server(view, pod, addresses, policies, node, reported)
    if audit is not None:
        audited[cgroup] = _audited(view, pod, addresses, audit, node)
    return Output(peers=peers, servers=servers, audited=audited)


def not_enforced(pod: Pod, runtime: str) -> str:
    """Why policies of a pod are not enforced; empty where they are. `runtime` is as above."""
    if pod.spec.host_network:
        return "a hostNetwork pod has no network namespace of its own"
    return f"the kernel does not see the sockets of {runtime}" if runtime else ""


def translate_account_pod(view: TrackedView, key: Key) -> Output:
    """The identities of the addresses of a pod, mostly of another node, whose service account a policy names."""
    pod = view.get(AccountPod, key.namespace, key.name)
    return Output(peers=dict.fromkeys(pod.addresses, peer_row(pod.namespace, pod.service_account)) if pod else {})


def translate_node_report(view: TrackedView, key: Key, node: str) -> Output:
    """The protected pods of another node as destinations, where their policies are known as that node enforces them,
    and the identities of its waypoints, if they enforce policies. `node` is this node.
    """
    report = view.get(NodeReport, key.namespace, key.name)
    if report is None or report.node == node or not has_policies(view):
        return Output()
    waypoints = report.waypoints if report.waypoint_policies else ()
    destinations: dict[str, Destination] = {}
    for entry in report.guarded:
        found = guarded_by(view, entry)
        if found.exact and found.policies:
            destination = Destination(grants(found.policies, ()), found.policies[0].key)
            there = (address for address in entry.addresses if view.has_endpoint(address, report.node))
            destinations |= dict.fromkeys(there, destination)
    return Output(waypoints=dict.fromkeys(waypoints, waypoint_row(report.node)), destinations=destinations)


def translate_own_waypoints(view: TrackedView, key: Key, node: str) -> Output:
    """The identities of this node's waypoints, which get their configuration from this agent."""
    waypoints = view.get(NodeWaypoints, key.namespace, key.name)
    if waypoints is None or not has_policies(view):
        return Output()
    return Output(waypoints=dict.fromkeys(waypoints.addresses, waypoint_row(node)))


def _audited(view: TrackedView, pod: Pod, addresses: tuple[str, ...], audit: Audit, node: str) -> ServerPlan:
    """Of a pod that policies are audited at. All waypoints would judge its clients: once the policies are enforced, the
    reports have them.
    """
    plan = _server(view, pod, addresses, audit.policies, node, reported=True)
    return replace(plan, policies=audit.audited, generations=())


def _server(
    view: TrackedView,
    pod: Pod,
    addresses: tuple[str, ...],
    policies: Sequence[Policy],
    node: str,
    reported: bool,
) -> ServerPlan:
    sources = frozenset(source for policy in policies for rule in policy.rules for source in rule.sources or ())
    keys = tuple(policy.key for policy in policies)
    generations = tuple(policy.generation for policy in policies)

    def waypoints(rule: PolicyRule) -> Iterable[int]:
        if rule.sources is None:
            return (WAYPOINTS if reported else waypoint_id(node),)
        found = frozenset[str]().union(*(view.nodes(source.namespace, source.name) for source in rule.sources))
        return map(waypoint_id, found if reported else found & {node})

    return ServerPlan(pod.key, addresses, grants(policies, pod.probe_ports, waypoints), keys, sources, generations)
