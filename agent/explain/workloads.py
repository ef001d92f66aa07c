"""Workloads in manifests: the pods that they make of their templates, and the Services that select them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.explain.fields import flattened
from agent.explain.manifests import Manifests
from agent.kube.decode import decode
from agent.model.core import Pod
from agent.model.meta import Key

# Where the template of a kind's pods is.
TEMPLATES = dict.fromkeys(
    ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), ("spec", "template")
) | {"CronJob": ("spec", "jobTemplate", "spec", "template")}


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with the pods of its template."""

    location: str
    key: Key
    pod: Pod


def workloads_of(location: str, document: Any) -> Iterator[Workload]:
    """The workloads in a document, those whose pods can be decoded."""
    for item in flattened(document):
        path = TEMPLATES.get(str(as_object(item).get("kind")))
        template = as_object(item)
        for step in path or ():
            template = as_object(template.get(step))
        metadata = as_object(as_object(item).get("metadata"))
        name, namespace = metadata.get("name"), metadata.get("namespace", "default")
        labels = as_object(template.get("metadata")).get("labels", {})
        head = {"name": name, "namespace": namespace, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": template.get("spec", {})}
        for found in decode(pod, location) if path else ():
            if isinstance(found, Pod):
                yield Workload(location, Key(str(item["kind"]), str(namespace), str(name)), found)


def pods_of(manifests: Manifests, documents: Iterable[tuple[str, Any]]) -> Mapping[Key, Pod]:
    """The pods of manifests and those of workloads' templates, by the key of the Pod or the workload. Pods that have
    ended are left out. `documents` are the same manifests as parsed, each with its location.
    """
    found = {value.key: value for value in manifests.objects.values() if isinstance(value, Pod) and not value.finished}
    return found | {item.key: item.pod for location, document in documents for item in workloads_of(location, document)}


def as_object(value: Any) -> dict[str, Any]:
    """A parsed object; an empty one for any other value."""
    return value if isinstance(value, dict) else {}
