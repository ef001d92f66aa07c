"""How a Service, or a ServiceImport, is called where one word has to do: listeners, clusters, hashes, what people read.

`shop/web` is the Service, `shop/web.clusterset` the ServiceImport of that name: the two are often both there, and no
Service's name has a dot (RFC 1035 label).
"""

from agent.model.meta import Key

CLUSTER_SET = ".clusterset"


def service_name(key: Key) -> str:
    """`namespace/name`, followed by `.clusterset` for a ServiceImport."""
    return f"{key.namespace}/{local_name(key)}"


def local_name(key: Key) -> str:
    """The same without the namespace."""
    return key.name + CLUSTER_SET if key.kind == "ServiceImport" else key.name


def service_key(name: str) -> Key:
    """The Service or ServiceImport of a name: the inverse of `service_name`."""
    namespace, _, rest = name.partition("/")
    imported = rest.endswith(CLUSTER_SET)
    return Key("ServiceImport" if imported else "Service", namespace, rest.removesuffix(CLUSTER_SET))
