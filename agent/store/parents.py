"""The Services that a Route's parentRefs name."""

from collections.abc import Iterable

from agent.model.meta import Key
from agent.model.multicluster import GROUP as MULTICLUSTER
from agent.model.routes import ParentReference, Route

# The API groups of references to each kind of Service.
SERVICE_GROUPS = {"Service": ("", "core"), "ServiceImport": (MULTICLUSTER,)}

# A parentRef by its position, and the object that it names.
ParentService = tuple[int, ParentReference, Key]


def parent_services(route: Route) -> list[ParentService]:
    """The parentRefs of a route that name a Service or a ServiceImport."""
    spec: object = getattr(route, "spec", None)
    return services_among(getattr(spec, "parent_refs", ()), route.metadata.namespace)


def services_among(refs: Iterable[ParentReference], namespace: str) -> list[ParentService]:
    """The same, of the parentRefs of a route in this namespace."""
    return [
        (position, ref, Key(ref.kind, ref.namespace or namespace, ref.name))
        for position, ref in enumerate(refs)
        if is_service(ref.group, ref.kind)
    ]


def is_service(group: str, kind: str) -> bool:
    """Whether a reference is to a Service or a ServiceImport."""
    return group in SERVICE_GROUPS.get(kind, ())
