"""Which pods of this node are in the mesh, and how deep (DESIGN.md §3)."""

from fnmatch import fnmatchcase

from agent.ir.plan import Fragment, PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.model.core import Pod, RuntimeClass
from agent.model.facts import RecentClient
from agent.model.meta import Key
from agent.store.store import TrackedView
from agent.translate.options import Options
from agent.translate.workload import workload_of

OWN_NAMESPACE = "weft-system"
NAME_LABEL = "app.kubernetes.io/name"
AGENT, WAYPOINT = "weft-agent", "weft-waypoint"


def translate_pod(view: TrackedView, namespace: str, name: str, options: Options) -> Fragment:
    """A pod's row, once its cgroup is known; nothing for pods of other nodes and for those that have ended."""
    pod = view.get(Pod, namespace, name)
    if pod is None or pod.finished:
        return Fragment()
    folder = _folder(view, pod)
    cgroup = view.cgroup(folder)
    if cgroup is None:
        return Fragment()
    mode, because, warnings = _mode(view, pod, options)
    runtime = _unsupported_runtime(view, pod, options) if mode is not Mode.NONE else ""
    if runtime:
        why = f"Unsupported, not enrolled: the kernel does not see the sockets of {runtime}"
        mode, because, warnings = _instead(pod, Mode.NONE, why, warnings)
    flags = PodFlag.CONSUMER_ROUTES if view.has_consumer_routes(namespace) else PodFlag.NONE
    if own(pod, AGENT):
        flags |= PodFlag.AGENT
    if pod.spec.host_network:
        flags |= PodFlag.L4_ONLY
    sandbox = () if pod.spec.host_network or pod.addresses else view.sandbox(folder)
    addresses = () if pod.spec.host_network else pod.addresses or sandbox
    plan = PodPlan(
        *(pod.key, namespace, mode, flags, addresses, workload_of(pod), because),
        supported=not runtime,
        provisional=bool(sandbox),
        admitted=_is_admitted(view, pod, cgroup, mode),
        service_account=pod.spec.service_account_name,
    )
    return Fragment(pods={cgroup: plan}, warnings=warnings)


def own(pod: Pod, name: str) -> bool:
    """Whether a pod is one of weft's own, by this name."""
    return pod.metadata.namespace == OWN_NAMESPACE and pod.metadata.labels.get(NAME_LABEL) == name


def is_own(plan: PodPlan) -> bool:
    """Whether a pod of this node is in weft's own namespace."""
    return plan.namespace == OWN_NAMESPACE


def addresses_of_own(view: TrackedView, name: str, node: str) -> list[str]:
    """The addresses of weft's own pods of this name on a node; of a pod that names no node too."""
    pods = [pod for pod in view.pods(OWN_NAMESPACE) if own(pod, name) and not pod.finished]
    here = [pod for pod in pods if pod.spec.node_name in ("", node)]
    return [address for pod in here for address in pod.addresses or view.sandbox(_folder(view, pod))]


def _is_admitted(view: TrackedView, pod: Pod, cgroup: int, mode: Mode) -> bool:
    """Whether the pod may connect to the waypoint's listeners: in the mesh, or until a moment ago.

    Of weft's own pods only the agent, which tries them.
    """
    if pod.metadata.namespace == OWN_NAMESPACE:
        return own(pod, AGENT)
    return mode is not Mode.NONE or view.get(RecentClient, "", str(cgroup)) is not None


def _folder(view: TrackedView, pod: Pod) -> str:
    """What names the pod's cgroup, empty where nothing does.

    Of several that say they mirror one static pod the oldest is right: the kubelet was there.
    """
    if not pod.static_hash:
        return pod.metadata.uid
    first = min(view.mirrors(pod.static_hash), key=lambda mirror: mirror.age)
    return pod.static_hash if first.key == pod.key else ""


def _mode(view: TrackedView, pod: Pod, options: Options) -> tuple[Mode, str, tuple[str, ...]]:
    """The pod's mode: its own label, else its namespace's; why so, and what its user should know."""
    mode, because, warnings = _labelled(view, pod)
    if mode is Mode.NONE:
        return mode, because, warnings
    if pod.metadata.namespace == OWN_NAMESPACE:
        return _instead(pod, Mode.NONE, "not enrolled: weft never captures itself", warnings)
    if pod.metadata.namespace == "kube-system" and not options.enrol_kube_system:
        return _instead(pod, Mode.NONE, "not enrolled: kube-system needs --enrol-kube-system", warnings)
    if mode is Mode.L7 and pod.spec.host_network:
        return _instead(pod, Mode.L4, "in mode l4, not l7: a hostNetwork pod has no address of its own", warnings)
    return mode, because, warnings


def _labelled(view: TrackedView, pod: Pod) -> tuple[Mode, str, tuple[str, ...]]:
    """What the labels say."""
    namespace = pod.metadata.namespace
    own, own_warning = view.mode("Pod", namespace, pod.metadata.name)
    spaces, space_warning = view.mode("Namespace", "", namespace)
    warnings = tuple(warning for warning in (own_warning, space_warning) if warning)
    if own is not None:
        return own, f"the Pod's label says {own.label}", warnings
    if spaces is not None:
        return spaces, f"Namespace {namespace}'s label says {spaces.label}", warnings
    return Mode.NONE, f"neither the Pod nor Namespace {namespace} has a label that says otherwise", warnings


def _instead(pod: Pod, mode: Mode, because: str, warnings: tuple[str, ...]) -> tuple[Mode, str, tuple[str, ...]]:
    return mode, because, (*warnings, f"{pod.key}: {because}")


def _unsupported_runtime(view: TrackedView, pod: Pod, options: Options) -> str:
    """What runs the pod with sockets of its own, empty where nothing does. A class that is not there speaks by name."""
    name = pod.spec.runtime_class_name
    found = view.get(RuntimeClass, "", name) if name else None
    handler = found.handler if found else name
    unsupported = any(fnmatchcase(handler, pattern) for pattern in options.unsupported_runtimes)
    return f"RuntimeClass {name}, handler {handler}" if unsupported else ""


def service_mode(view: TrackedView, service: Key) -> tuple[Mode, tuple[str, ...]]:
    """A Service's mode: its own label, else its namespace's."""
    own, own_warning = view.mode(*service)
    spaces, _ = view.mode("Namespace", "", service.namespace)
    mode = own if own is not None else spaces if spaces is not None else Mode.NONE
    return mode, (own_warning,) if own_warning else ()
