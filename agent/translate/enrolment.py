"""Which pods of this node are in the mesh, and how deep (DESIGN.md §3)."""

from dataclasses import replace
from fnmatch import fnmatchcase

from agent.ir.plan import Output, PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.model.core import Pod, RuntimeClass
from agent.model.facts import RecentClient
from agent.model.meta import WEFT_NAMESPACE, Key
from agent.store.store import TrackedView
from agent.translate.authorization import translate_authorization
from agent.translate.options import Options
from agent.translate.workload import workload_of

NAME_LABEL = "app.kubernetes.io/name"
AGENT, WAYPOINT = "weft-agent", "weft-waypoint"


def translate_pod(view: TrackedView, namespace: str, name: str, options: Options) -> Output:
    """A pod's row, once its cgroup is known; nothing for pods of other nodes and for pods that have ended."""
    pod = view.get(Pod, namespace, name)
    if pod is None or pod.finished:
        return Output()
    folder = _folder(view, pod)
    cgroup = view.cgroup(folder)
    if cgroup is None:
        return Output()
    mode, mode_reason, warnings = _mode(view, pod, options)
    runtime = unsupported_runtime(view, pod, options)
    supported = not runtime or mode is Mode.NONE
    if not supported:
        text = f"Unsupported, not enrolled: the kernel does not see the sockets of {runtime}"
        mode, mode_reason, warnings = _override(pod, Mode.NONE, text, warnings)
    flags = PodFlag.CONSUMER_ROUTES if view.has_consumer_routes(namespace) else PodFlag.NONE
    if is_weft_component(pod, AGENT):
        flags |= PodFlag.AGENT
    if pod.spec.host_network:
        flags |= PodFlag.L4_ONLY
    sandbox = () if pod.spec.host_network or pod.addresses else view.sandbox(folder)
    addresses = () if pod.spec.host_network else pod.addresses or sandbox
    plan = PodPlan(
        *(pod.key, namespace, mode, flags, addresses, workload_of(pod), mode_reason),
        supported=supported,
        provisional=bool(sandbox),
        allow_listed=_is_allow_listed(view, pod, cgroup, mode),
        service_account=pod.spec.service_account_name,
    )
    authorization = translate_authorization(view, pod, cgroup, addresses, runtime, options.node)
    return replace(authorization, pods={cgroup: plan}, warnings=(*warnings, *authorization.warnings))


def is_weft_component(pod: Pod, name: str) -> bool:
    """Whether a pod is weft's component of this name (`app.kubernetes.io/name`)."""
    return pod.metadata.namespace == WEFT_NAMESPACE and pod.metadata.labels.get(NAME_LABEL) == name


def is_in_weft_namespace(plan: PodPlan) -> bool:
    """Whether a pod of this node is in weft's namespace."""
    return plan.namespace == WEFT_NAMESPACE


def weft_component_addresses(view: TrackedView, name: str, node: str) -> list[str]:
    """The addresses of a weft component's pods on a node, and of its pods that name no node."""
    pods = [pod for pod in view.pods(WEFT_NAMESPACE) if is_weft_component(pod, name) and not pod.finished]
    here = [pod for pod in pods if pod.spec.node_name in ("", node)]
    return [address for pod in here for address in pod.addresses or view.sandbox(_folder(view, pod))]


def _is_allow_listed(view: TrackedView, pod: Pod, cgroup: int, mode: Mode) -> bool:
    """Whether the pod may connect to the waypoint's listeners: it is in the mesh, or left it less than the grace time
    ago. Of weft's own pods only the agent may, which probes the listeners.
    """
    if pod.metadata.namespace == WEFT_NAMESPACE:
        return is_weft_component(pod, AGENT)
    return mode is not Mode.NONE or view.get(RecentClient, "", str(cgroup)) is not None


def _folder(view: TrackedView, pod: Pod) -> str:
    """The uid or hash in the name of the pod's cgroup, empty where the pod has none.

    Where several pods claim to mirror one static pod, the oldest is the kubelet's.
    """
    if not pod.static_hash:
        return pod.metadata.uid
    first = min(view.mirrors(pod.static_hash), key=lambda mirror: mirror.age)
    return pod.static_hash if first.key == pod.key else ""


def _mode(view: TrackedView, pod: Pod, options: Options) -> tuple[Mode, str, tuple[str, ...]]:
    """The pod's mode by its own label, else by its namespace's; the reason for it, and warnings for its user."""
    mode, mode_reason, warnings = _labelled(view, pod)
    if mode is Mode.NONE:
        return mode, mode_reason, warnings
    if pod.metadata.namespace == WEFT_NAMESPACE:
        return _override(pod, Mode.NONE, "not enrolled: weft does not enrol its own pods", warnings)
    if pod.metadata.namespace == "kube-system" and not options.enrol_kube_system:
        return _override(pod, Mode.NONE, "not enrolled: kube-system needs --enrol-kube-system", warnings)
    if mode is Mode.L7 and pod.spec.host_network:
        return _override(pod, Mode.L4, "in mode l4, not l7: a hostNetwork pod has no address of its own", warnings)
    return mode, mode_reason, warnings


def _labelled(view: TrackedView, pod: Pod) -> tuple[Mode, str, tuple[str, ...]]:
    """The mode by the labels alone."""
    namespace = pod.metadata.namespace
    pod_mode, pod_warning = view.mode("Pod", namespace, pod.metadata.name)
    namespace_mode, namespace_warning = view.mode("Namespace", "", namespace)
    warnings = tuple(warning for warning in (pod_warning, namespace_warning) if warning)
    if pod_mode is not None:
        return pod_mode, f"label weft.dev/mode={pod_mode.label} of the Pod", warnings
    if namespace_mode is not None:
        return namespace_mode, f"label weft.dev/mode={namespace_mode.label} of Namespace {namespace}", warnings
    return Mode.NONE, f"neither the Pod nor Namespace {namespace} has the label weft.dev/mode", warnings


def _override(pod: Pod, mode: Mode, mode_reason: str, warnings: tuple[str, ...]) -> tuple[Mode, str, tuple[str, ...]]:
    return mode, mode_reason, (*warnings, f"{pod.key}: {mode_reason}")


def unsupported_runtime(view: TrackedView, pod: Pod, options: Options) -> str:
    """The pod's RuntimeClass and handler, where the node's kernel does not see the sockets of such pods; else empty.
    For a RuntimeClass that does not exist its name is taken as the handler.
    """
    name = pod.spec.runtime_class_name
    found = view.get(RuntimeClass, "", name) if name else None
    handler = found.handler if found else name
    unsupported = any(fnmatchcase(handler, pattern) for pattern in options.unsupported_runtimes)
    return f"RuntimeClass {name}, handler {handler}" if unsupported else ""


def service_mode(view: TrackedView, service: Key) -> tuple[Mode, tuple[str, ...]]:
    """A Service's mode: its own label, else its namespace's; and warnings about its own label."""
    own_mode, own_warning = view.mode(*service)
    namespace_mode, _ = view.mode("Namespace", "", service.namespace)
    mode = next((item for item in (own_mode, namespace_mode) if item is not None), Mode.NONE)
    return mode, (own_warning,) if own_warning else ()
