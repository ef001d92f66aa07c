"""Who owns a virtual address that several objects have.

An API server never allocates a cluster IP twice, but manifests can repeat one, and no API server checks the addresses
of a ServiceImport.
"""

from collections.abc import Iterable
from itertools import chain

from agent.model.multicluster import AnyService, ServiceImport


def owner(found: Iterable[AnyService]) -> AnyService | None:
    """The owner among Services and ServiceImports with one address; None when there is none.

    Among Services, and among imports, it is the oldest one. An import comes before a Service of its own namespace,
    whose address its controller took over, but not before a Service of another namespace.
    """
    by_age = sorted(found, key=lambda value: (isinstance(value, ServiceImport), value.age))
    home = {value.metadata.namespace for value in by_age[:1]}
    imports = (item for item in by_age if isinstance(item, ServiceImport) and item.metadata.namespace in home)
    return next(chain(imports, by_age), None)
