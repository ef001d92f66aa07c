"""The collections that are listed and watched: paths in the API, and how objects are decoded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.kube.decode import DEFINED, KINDS, OPTIONAL, decode_json
from agent.kube.undecodable import undecodable_route
from agent.kube.undecodable_facts import facts_json
from agent.model.change import Keyed, Problem
from agent.model.routes import Route

# Decodes an object's JSON, with its location: to one or several values, or to a `Problem`.
Read = Callable[[bytes, str], Sequence[Keyed] | Problem]
# The facts about an object that cannot be read, from its JSON and its problem.
Facts = Callable[[bytes, Problem], tuple[Keyed, ...]]

JSON = "application/json"


def plural(kind: str) -> str:
    """The plural of a kind, as in paths: `xmeshes`, `authorizationpolicies`, `meshparameters`, otherwise with an s."""
    lower = kind.lower()
    if lower.endswith("parameters"):
        return lower
    if lower.endswith("y"):
        return f"{lower[:-1]}ies"
    return f"{lower}es" if lower.endswith(("s", "sh")) else f"{lower}s"


def no_facts(_: bytes, __: Problem) -> tuple[Keyed, ...]:
    """Of most kinds nothing is told."""
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All objects of a kind in the cluster or in one `namespace`, or those that `query` selects.

    `versions` are the apiVersions that weft can decode, best first. A kind with `defined` exists only where its
    CustomResourceDefinition is installed. An `optional` kind is built into some servers only. `accept` is the content
    type of lists and of watches. `undecodable` has the facts about an object whose reading is stopped by a bug.
    """

    kind: str
    versions: tuple[str, ...]
    read: Read
    query: Mapping[str, str] = field(default_factory=dict)
    defined: bool = False
    optional: bool = False
    accept: tuple[str, str] = (JSON, JSON)
    namespace: str = ""
    undecodable: Facts = no_facts

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
        if issubclass(KINDS[kind][0], Route):
            return replace(found, facts=undecodable_route(raw, kind, found))
        return replace(found, facts=facts_json(raw, kind, found))

    def undecodable(raw: bytes, problem: Problem) -> tuple[Keyed, ...]:
        return facts_json(raw, kind, problem)

    versions = KINDS[kind][1]
    defined = versions[0].startswith(DEFINED)
    optional = kind in OPTIONAL
    found = Collection(kind, versions, read, query or {}, defined=defined, optional=optional, namespace=namespace)
    return replace(found, undecodable=undecodable)


def node_collections(node: str, *, all_nodes: bool = False) -> tuple[Collection, ...]:
    """What an agent watches: everything for routing, its own Node or `all_nodes`, and the pods of the node."""
    own = {"Pod": {"fieldSelector": f"spec.nodeName={node}"}}
    if not all_nodes:
        own["Node"] = {"fieldSelector": f"metadata.name={node}"}
    return tuple(collection(kind, own.get(kind)) for kind in KINDS)
