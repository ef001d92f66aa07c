"""Pods that manifests do not have: their Services and policies often come without the workloads."""

from collections.abc import Iterable, Iterator, Mapping

from agent.model.authorization import AuthorizationPolicy, LabelSelector, selects
from agent.model.change import Keyed
from agent.model.core import Pod, Service
from agent.model.meta import Key, ObjectMeta


def assumed_pods(objects: Iterable[Keyed], pods: Mapping[Key, Pod]) -> Iterator[tuple[Key, Pod]]:
    """A pod for each Service, and for each AuthorizationPolicy, that selects none of `pods` and of those before it. It
    has the labels of the selector. The key is that of the Service or policy.
    """
    known = list(pods.values())
    for value in sorted(objects, key=_services_first):
        assumed = None
        if isinstance(value, Service) and value.spec.selector and not any(value.selects(pod) for pod in known):
            assumed = pod_of_service(value)
        if isinstance(value, AuthorizationPolicy) and not any(selects(value, pod) for pod in known):
            assumed = _pod_of_policy(value)
        if assumed is not None:
            known.append(assumed)
            yield value.key, assumed


def pod_of_service(service: Service) -> Pod:
    """A pod with the labels of a Service's selector."""
    return Pod(ObjectMeta(service.metadata.name, service.metadata.namespace, labels=service.spec.selector))


def _services_first(value: Keyed) -> tuple[bool, Key]:
    return (not isinstance(value, Service), value.key)


def _pod_of_policy(policy: AuthorizationPolicy) -> Pod | None:
    """A pod that a policy selects by labels; None where no labels are found that do, and of a policy for a Service."""
    if policy.services:
        return None
    (selector,) = policy.selectors
    pod = Pod(ObjectMeta(policy.metadata.name, policy.metadata.namespace, labels=_labels(selector)))
    return pod if selects(policy, pod) else None


def _labels(selector: LabelSelector) -> dict[str, str]:
    needed = (item for item in selector.match_expressions if item.operator in ("In", "Exists"))
    return {item.key: next(iter(item.values), "") for item in needed} | selector.match_labels
