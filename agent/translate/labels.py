"""Labels other than the mode: which of a Service's ports the waypoint observes, and whether it logs their requests."""

from collections.abc import Iterator

from agent.model.core import Namespace
from agent.model.multicluster import AnyService
from agent.store.store import TrackedView

SCOPE, ACCESS_LOG = "weft.dev/l7-scope", "weft.dev/access-log"
ALL, YES = "all", "true"
CHOICES = {SCOPE: (ALL, "routes"), ACCESS_LOG: (YES, "false")}


def sees_all(view: TrackedView, service: AnyService) -> bool:
    """Whether the waypoint observes HTTP ports without Routes too: by the Service's label, else its Namespace's."""
    own = service.metadata.labels.get(SCOPE)
    return (own if own in CHOICES[SCOPE] else _of_namespace(view, service.metadata.namespace, SCOPE)) == ALL


def is_logged(view: TrackedView, namespace: str) -> bool:
    """Whether requests to a namespace's Services are written to the access log."""
    return _of_namespace(view, namespace, ACCESS_LOG) == YES


def _of_namespace(view: TrackedView, namespace: str, label: str) -> str | None:
    found = view.get(Namespace, "", namespace)
    return found.metadata.labels.get(label) if found is not None else None


def label_warnings(view: TrackedView, service: AnyService) -> Iterator[str]:
    """Labels with unknown values, of a Service and of its Namespace."""
    namespace = view.get(Namespace, "", service.metadata.namespace)
    for item in (service, namespace) if namespace is not None else (service,):
        for label, choices in CHOICES.items():
            text = item.metadata.labels.get(label, choices[0])
            if text not in choices:
                message = f"{text!r} is neither {' nor '.join(choices)}; ignored"
                yield f"{item.key}: metadata.labels[{label}]: {message}"
    if service.has_client_ip_affinity and sees_all(view, service):
        yield f"{service.key}: {SCOPE}: its ports without Routes stay in the kernel, which keeps ClientIP"
