"""A node whose one pod has policies, translated without a kernel."""

from agent.ir.authorization import (
    NODE,
    Destination,
    Grant,
    PeerRow,
    ServerPlan,
    account_id,
    waypoint_id,
)
from agent.ir.plan import Output
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Upsert
from agent.model.facts import AccountPod, NodeReport, PodCgroup
from agent.model.meta import Object
from agent.model.weft_node import Guarded
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: u-1, labels: {app: web}}
spec:
  nodeName: here
  serviceAccountName: web
  containers: [{name: web, ports: [{name: health, containerPort: 9000}], livenessProbe: {httpGet: {port: health}}}]
status: {phase: Running, podIP: 10.1.0.5, podIPs: [{ip: 10.1.0.5}, {ip: "fd00::5"}]}
"""
POLICY = """
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec:
  targetRefs: [{kind: Pod, selector: {matchLabels: {app: web}}}]
  action: ALLOW
  enforcementLevel: Network
  rules: RULES
"""
ALICE, BANK = account_id("shop", "alice"), account_id("bank", "*")
PROBE = Grant(NODE, 9000)
HERE, THERE = waypoint_id("here"), waypoint_id("there")


def policy(rules: str, name: str = "p") -> str:
    return POLICY.replace("RULES", rules).replace("NAME", name)


def upserts(*texts: str) -> list[Change]:
    found = [item for text in texts for part in split(text, False) for item in decode(part.value, "here")]
    assert all(isinstance(item, Object) for item in found), found
    return [Upsert(item) for item in found if isinstance(item, Object)]


def remote(address: str, account: str = "alice", name: str = "other", node: str = "there") -> AccountPod:
    return AccountPod("shop", name, account, (address,), f"u-{name}", "2026-01-01T00:00:00Z", "*", node)


def report(*guarded: Guarded, node: str = "there", enforces: bool = True) -> NodeReport:
    return NodeReport(node, ("10.9.0.2",), enforces, guarded)


class PolicyNode:
    """A node with one pod, translated after each change."""

    def __init__(self, pod: str = POD) -> None:
        self._translator = Translator(Store(), Options("here"))
        self.update(*upserts(pod), Upsert(PodCgroup("u-1", 7)))

    def update(self, *changes: Change) -> None:
        self._translator.update(changes)

    @property
    def waypoints(self) -> dict[str, PeerRow]:
        return {address: row for it in self._translator.outputs.values() for address, row in it.waypoints.items()}

    @property
    def destinations(self) -> dict[str, Destination]:
        return {address: item for it in self._translator.outputs.values() for address, item in it.destinations.items()}

    @property
    def output(self) -> Output:
        (found,) = [output for output in self._translator.outputs.values() if output.pods]
        return found

    @property
    def peers(self) -> dict[str, PeerRow]:
        """The identities of all addresses."""
        return {address: row for output in self._translator.outputs.values() for address, row in output.peers.items()}

    @property
    def server(self) -> ServerPlan | None:
        return self.output.servers.get(7)
