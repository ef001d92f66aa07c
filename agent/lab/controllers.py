"""The cluster's controllers as one pure step: objects and the kubelet's observations in, objects out."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.ir.addresses import family_of
from agent.lab.families import IPV4, Network, Ranges, of_family
from agent.lab.paths import NODE_NAME
from agent.lab.probe import with_probe
from agent.lab.store import Object, Objects, key_of, merged
from agent.model.meta import Key

FIXED_ADDRESS = "lab.weft.dev/address"
# Lower addresses are assigned by name: to the waypoints and the DNS service.
_FIRST_FREE = 11


@dataclass(frozen=True, slots=True)
class Seen:
    """The kubelet's observations of a pod."""

    phase: str = "Pending"
    ready: bool = False
    restarts: int = 0


def step(objects: Objects, seen: Mapping[str, Seen], families: Sequence[Ranges] = (IPV4,)) -> Objects:
    """Run every controller once. Applied to its own result it changes nothing. `families` are the cluster's;
    single-stack Services use the first one.
    """
    result = dict(objects)
    _namespaces(result)
    _pods(result)
    _cluster_ips(result, families)
    _pod_status(result, seen, families)
    _slices(result, families)
    return result


def with_kind(objects: Objects, kind: str) -> Iterator[tuple[Key, Object]]:
    """The objects of a kind, in the order of their keys."""
    return ((key, objects[key]) for key in sorted(objects) if key.kind == kind)


def labels_of(item: Object) -> dict[str, str]:
    """The labels, none when there are none."""
    return item["metadata"].get("labels") or {}


def selects(selector: Mapping[str, str] | None, labels: Mapping[str, str]) -> bool:
    """Whether a Service's selector matches these labels. An empty selector matches nothing (core/v1)."""
    return bool(selector) and all(labels.get(name) == value for name, value in (selector or {}).items())


def owner_of(item: Object) -> str:
    """The name of the Deployment that made a pod, empty when none did."""
    return next((owner["name"] for owner in item["metadata"].get("ownerReferences", ())), "")


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is true."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _namespaces(objects: Objects) -> None:
    for name in {"default", "kube-system"} | {key.namespace for key in objects if key.namespace}:
        key = Key("Namespace", "", name)
        if key not in objects:
            labels = {"kubernetes.io/metadata.name": name}
            objects[key] = merged(None, {"apiVersion": "v1", "kind": "Namespace",
                                         "metadata": {"name": name, "labels": labels}})  # fmt: skip


def _pods(objects: Objects) -> None:
    wanted: Objects = {}
    for key, deployment in with_kind(objects, "Deployment"):
        wanted.update((key_of(pod), pod) for pod in _replicas(key, deployment))
    for key, pod in list(with_kind(objects, "Pod")):
        if owner_of(pod) and key not in wanted and not _serves_still(key, pod, objects, wanted):
            del objects[key]
    for key, pod in wanted.items():
        if key not in objects:
            objects[key] = merged(None, pod)


def _serves_still(key: Key, pod: Object, objects: Objects, wanted: Objects) -> bool:
    """A pod of an older template serves until those of the new one are ready, as in a rolling update."""
    owner = (key.namespace, owner_of(pod))
    successors = [other for other, item in wanted.items() if (other.namespace, owner_of(item)) == owner]
    older = key.name.rsplit("-", 1)[0] not in {other.name.rsplit("-", 1)[0] for other in successors}
    return bool(successors) and older and not all(is_ready(objects.get(other, {})) for other in successors)


def _replicas(key: Key, deployment: Object) -> Iterator[Object]:
    """Names are made of the template's digest: a changed template gives other pods."""
    spec = deployment["spec"]
    template = spec["template"]
    digest = hashlib.sha256(json.dumps([key, template], sort_keys=True).encode()).hexdigest()
    owner = {"kind": "Deployment", "name": key.name, "uid": deployment["metadata"]["uid"]}
    for number in range(spec.get("replicas", 1)):
        suffix = hashlib.sha256(f"{digest}{number}".encode()).hexdigest()[:5]
        metadata = {
            **template.get("metadata", {}),
            "name": f"{key.name}-{digest[:9]}-{suffix}",
            "namespace": key.namespace,
            "ownerReferences": [owner],
        }
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def _cluster_ips(objects: Objects, families: Sequence[Ranges]) -> None:
    services = list(with_kind(objects, "Service"))
    used = [address for _, item in services for address in cluster_ips(item["spec"])]
    free = {ranges.family: _free(ranges.services, used) for ranges in families}
    for key, service in services:
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIPs"):
            continue
        wanted = _families_of(spec, families)
        given = cluster_ips(spec)
        addresses = given if "None" in given else [of_family(given, item) or next(free[item.family]) for item in wanted]
        names = [ranges.name for ranges in wanted]
        allocated = {"clusterIP": addresses[0], "clusterIPs": addresses, "ipFamilies": names}
        objects[key] = {**service, "spec": {**spec, **allocated}}


def cluster_ips(spec: Object) -> list[str]:
    """A Service's cluster IPs; `None` of one that is headless."""
    return spec.get("clusterIPs") or [address for address in [spec.get("clusterIP")] if address]


def _families_of(spec: Object, families: Sequence[Ranges]) -> list[Ranges]:
    """A Service's families: those that it names, that of its cluster IP, or the cluster's first one; with its
    ipFamilyPolicy all of them (core/v1).
    """
    given = [address for address in cluster_ips(spec) if address != "None"]
    named = spec.get("ipFamilies") or [f"IPv{family_of(address)}" for address in given]
    first = [ranges for name in named for ranges in families if ranges.name == name] or [families[0]]
    if spec.get("ipFamilyPolicy", "SingleStack") == "SingleStack":
        return first[:1]
    return [*first, *(ranges for ranges in families if ranges not in first)]


def _free(network: Network, used: Iterable[str]) -> Iterator[str]:
    taken = set(used)
    candidates = (str(network[number]) for number in range(_FIRST_FREE, min(network.num_addresses - 1, 2**16)))
    return (address for address in candidates if address not in taken)


def pod_ips(pod: Object) -> list[str]:
    """A pod's addresses; empty before it has any."""
    return [item["ip"] for item in pod.get("status", {}).get("podIPs", ())]


def _pod_status(objects: Objects, seen: Mapping[str, Seen], families: Sequence[Ranges]) -> None:
    pods = list(with_kind(objects, "Pod"))
    used = [address for _, pod in pods for address in pod_ips(pod)]
    free = {ranges.family: _free(ranges.pods, used) for ranges in families}
    for key, pod in pods:
        fixed = [*filter(None, pod["metadata"].get("annotations", {}).get(FIXED_ADDRESS, "").split(","))]
        addresses = pod_ips(pod) or [of_family(fixed, ranges) or next(free[ranges.family]) for ranges in families]
        state = seen.get(pod["metadata"]["uid"], Seen())
        status = {
            "phase": state.phase,
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": str(state.ready)}],
            "restarts": state.restarts,
        }
        objects[key] = {**pod, "spec": _completed(pod["spec"]), "status": status}


def _completed(spec: Object) -> Object:
    """The spec as an API server and the scheduler complete it."""
    containers = [with_probe(container) for container in spec["containers"]]
    return {"serviceAccountName": "default", **spec, "containers": containers, "nodeName": NODE_NAME}


def _slices(objects: Objects, families: Sequence[Ranges]) -> None:
    wanted: Objects = {}
    for key, service in with_kind(objects, "Service"):
        if service["spec"].get("selector"):
            for ranges in _families_of(service["spec"], families):
                wanted.update((key_of(item), item) for item in _slices_of(key, service, objects, ranges))
    for key, item in list(with_kind(objects, "EndpointSlice")):
        made_here = labels_of(item).get("endpointslice.kubernetes.io/managed-by") == "lab"
        if made_here and key not in wanted:
            del objects[key]
    for key, item in wanted.items():
        objects[key] = {**(objects.get(key) or merged(None, item)), **_without_metadata(item)}


def _without_metadata(item: Object) -> Object:
    return {name: value for name, value in item.items() if name != "metadata"}


def _slices_of(key: Key, service: Object, objects: Objects, ranges: Ranges) -> Iterator[Object]:
    """The slices of one family: one for each distinct set of port numbers, because a named target port can differ by
    pod.
    """
    groups: dict[str, list[Object]] = {}
    for pod_key, pod in with_kind(objects, "Pod"):
        if pod_key.namespace == key.namespace and selects(service["spec"]["selector"], labels_of(pod)):
            groups.setdefault(json.dumps(_ports(service, pod)), []).append(pod)
    for ports, pods in groups.items() or [("[]", [])]:
        digest = hashlib.sha256(f"{ports}{ranges.name}".encode()).hexdigest()[:5]
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{key.name}-{digest}",
                "namespace": key.namespace,
                "labels": {
                    "kubernetes.io/service-name": key.name,
                    "endpointslice.kubernetes.io/managed-by": "lab",
                },
            },
            "addressType": ranges.name,
            "ports": json.loads(ports),
            "endpoints": [_endpoint(pod, of_family(pod_ips(pod), ranges)) for pod in pods],
        }


def _ports(service: Object, pod: Object) -> list[dict[str, Any]]:
    result = []
    for port in service["spec"].get("ports", ()):
        number = _target(port, pod)
        if number is not None:
            kept = {name: port[name] for name in ("name", "appProtocol") if name in port}
            result.append({"name": "", "protocol": port.get("protocol", "TCP"), **kept, "port": number})
    return result


def _target(port: Mapping[str, Any], pod: Object) -> int | None:
    """The pod's port number; None when the target's name is on none of its containers."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    named = (item for container in pod["spec"]["containers"] for item in container.get("ports", ()))
    return next((item["containerPort"] for item in named if item.get("name") == target), None)


def _endpoint(pod: Object, address: str) -> dict[str, Any]:
    ready = is_ready(pod)
    return {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": ready, "terminating": False},
        "nodeName": NODE_NAME,
        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]},
    }
