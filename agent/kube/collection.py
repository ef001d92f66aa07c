"""What is listed and watched: a kind's place in the API, and how its objects are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.kube.decode import DEFINED, KINDS, OPTIONAL, decode_json
from agent.kube.unread import unread_route
from agent.model.change import Keyed, Problem
from agent.model.routes import Route

# An object's JSON and where it is, to what it says: one value or several, or why it cannot be used.
Read = Callable[[bytes, str], Sequence[Keyed] | Problem]

JSON = "application/json"


def plural(kind: str) -> str:
    """A kind as it is written in paths: XMesh and RuntimeClass take more than an s."""
    lower = kind.lower()
    return f"{lower}es" if lower.endswith(("s", "sh")) else f"{lower}s"


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All objects of a kind in the cluster or in one `namespace`, or those of them that `query` selects.

    `versions` are the apiVersions that can be read, best first. A kind with `defined` exists only where somebody
    installed its CustomResourceDefinition; an `optional` one is built in, but not into every server. `accept` is the
    content type of lists and of watches.
    """

    kind: str
    versions: tuple[str, ...]
    read: Read
    query: Mapping[str, str] = field(default_factory=dict)
    defined: bool = False
    optional: bool = False
    accept: tuple[str, str] = (JSON, JSON)
    namespace: str = ""

    @property
    def group(self) -> str:
        """The API group, empty for the core."""
        return self.versions[0].rpartition("/")[0]

    @property
    def plural(self) -> str:
        """The kind in paths."""
        return plural(self.kind)

    def path(self, version: str) -> str:
        """The URL's path for an apiVersion: `/apis/gateway.networking.k8s.io/v1/httproutes`."""
        folder = f"/{'apis' if '/' in version else 'api'}/{version}"
        return f"{folder}/namespaces/{self.namespace}/{self.plural}" if self.namespace else f"{folder}/{self.plural}"


def collection(kind: str, query: Mapping[str, str] | None = None, namespace: str = "") -> Collection:
    """The collection of a kind that the model knows."""

    def read(raw: bytes, where: str) -> Sequence[Keyed] | Problem:
        found = decode_json(raw, kind, where)
        if not isinstance(found, Problem):
            return (found,)
        return replace(found, beside=unread_route(raw, kind, found)) if issubclass(KINDS[kind][0], Route) else found

    versions = KINDS[kind][1]
    defined = versions[0].startswith(DEFINED)
    optional = kind in OPTIONAL
    return Collection(kind, versions, read, query or {}, defined=defined, optional=optional, namespace=namespace)


def node_collections(node: str) -> tuple[Collection, ...]:
    """What an agent has to know: everything that routes, its own node and the pods there."""
    own = {"Pod": {"fieldSelector": f"spec.nodeName={node}"}, "Node": {"fieldSelector": f"metadata.name={node}"}}
    return tuple(collection(kind, own.get(kind)) for kind in KINDS)
