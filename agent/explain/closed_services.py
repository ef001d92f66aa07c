"""Services in manifests that clients without an identity use, and whose pods the mesh's default closes to them, or a
policy about requests.

Such clients are those outside the cluster, and the API server, which calls webhooks and aggregated APIs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agent.explain.assumed_pods import pod_of_service
from agent.explain.fields import flattened
from agent.explain.manifests import Manifests
from agent.explain.policies import PolicyWarning
from agent.explain.workloads import as_object, pods_of
from agent.model.authorization import AnyPolicy, AuthorizationPolicy, UndecodableAuthorizationPolicy, policy_key
from agent.model.core import Pod, Service
from agent.model.meta import Key
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import default_policies, selects_pod

WEBHOOKS = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
FROM_OUTSIDE = ("NodePort", "LoadBalancer")


def closed_services(
    manifests: Manifests, documents: Sequence[tuple[str, Any]], view: TrackedView
) -> Iterator[PolicyWarning]:
    """A warning for each of these Services with pods that no policy selects, or one of the level Application.
    `documents` are the same manifests as parsed, `view` as translated.
    """
    callers = _callers(item for _, document in documents for item in flattened(document))
    pods = pods_of(manifests, documents).values()
    parameters = mesh_parameters(view)
    for service in manifests.objects.values():
        if not isinstance(service, Service) or not service.spec.selector:
            continue
        clients = ", ".join((*_from_outside(service), *callers.get(service.key, ())))
        if not clients:
            continue
        found = [pod for pod in pods if service.selects(pod)] or [pod_of_service(service)]
        messages = [
            f"{policy} of the level Application closes its pods to {clients}: only waypoints connect to them"
            for policy in _closing(view, manifests, found)
        ]
        if default_policies(parameters, service.metadata.namespace) and _has_default(view, manifests, found):
            default = f"the default {parameters.spec.authorization.default} of {parameters.key}"
            messages.append(f"{default} closes its pods to {clients}: only a rule without sources admits those")
        for message in messages:
            yield PolicyWarning(manifests.locations[service.key], service.key, "spec.selector", message)


def _from_outside(service: Service) -> Iterator[str]:
    if service.spec.type in FROM_OUTSIDE:
        yield f"clients outside the cluster ({service.spec.type})"


def _callers(objects: Iterable[Any]) -> Mapping[Key, list[str]]:
    """What the API server calls Services for, by Service."""
    found: dict[Key, list[str]] = defaultdict(list)
    for item in map(as_object, objects):
        name = as_object(item.get("metadata")).get("name")
        for reference in map(as_object, _references(item)):
            service = Key("Service", str(reference.get("namespace")), str(reference.get("name")))
            caller = f"the API server ({item['kind']} {name})"
            if caller not in found[service]:
                found[service].append(caller)
    return found


def _references(item: dict[str, Any]) -> list[Any]:
    """The references to Services in an object by which the API server calls them."""
    spec, kind = as_object(item.get("spec")), item.get("kind")
    if kind == "APIService":
        return [spec.get("service")]
    if kind == "CustomResourceDefinition":
        webhook = as_object(as_object(spec.get("conversion")).get("webhook"))
        return [as_object(webhook.get("clientConfig")).get("service")]
    webhooks = item.get("webhooks") if kind in WEBHOOKS else None
    listed = webhooks if isinstance(webhooks, list) else []
    return [as_object(as_object(webhook).get("clientConfig")).get("service") for webhook in listed]


def _has_default(view: TrackedView, manifests: Manifests, pods: Iterable[Pod]) -> bool:
    """Whether one of these pods has no policy. Pods on the host's network are not closed."""
    policies = _enforced(manifests)
    return any(not pod.spec.host_network and not any(selects_pod(view, item, pod) for item in policies) for pod in pods)


def _closing(view: TrackedView, manifests: Manifests, pods: Iterable[Pod]) -> list[Key]:
    """The policies of the level Application that select one of these pods: no rule of theirs admits other clients."""
    closable = [pod for pod in pods if not pod.spec.host_network]
    policies = (policy for policy in _enforced(manifests) if policy.is_application)
    return sorted(policy_key(policy) for policy in policies if any(selects_pod(view, policy, pod) for pod in closable))


def _enforced(manifests: Manifests) -> list[AnyPolicy]:
    return [
        value
        for value in manifests.objects.values()
        if isinstance(value, AuthorizationPolicy | UndecodableAuthorizationPolicy) and not value.is_audited
    ]
