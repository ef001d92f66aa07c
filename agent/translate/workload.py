"""What a pod is one of, from its owner and its labels: the names that Istio's dashboards group by."""

import re

from agent.ir.identity import Workload
from agent.model.core import Pod

# https://istio.io/latest/docs/ops/deployment/application-requirements/#canonical-services, in order of precedence.
_SERVICE_LABELS = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISION_LABELS = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")
_SCHEDULED = re.compile(r"-\d{7,10}$")  # a CronJob appends the time in seconds or, since Kubernetes 1.21, minutes


def workload_of(pod: Pod) -> Workload:
    """The pod's workload: its owner, by the part of the name that stays over roll-outs, or the pod itself."""
    labels = pod.metadata.labels
    name = _name(pod)
    service = next((labels[label] for label in _SERVICE_LABELS if labels.get(label)), name)
    revision = next((labels[label] for label in _REVISION_LABELS if labels.get(label)), "latest")
    return Workload(pod.metadata.namespace, name, service, revision)


def _name(pod: Pod) -> str:
    owners = pod.metadata.owner_references
    owner = next((owner for owner in owners if owner.controller), owners[0] if owners else None)
    if owner is None:
        return pod.metadata.name
    if owner.kind == "ReplicaSet":
        return owner.name.removesuffix(f"-{pod.metadata.labels.get('pod-template-hash', '')}")
    return _SCHEDULED.sub("", owner.name) if owner.kind == "Job" else owner.name
