"""What two directories of manifests would do differently: paths, rules and weights, by client namespace and port.

A namespace stands for a pod without labels of its own in it, whether there is one or not. Endpoints are left out: they
come and go with pods.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.explain.decision import TrafficPath, decide, frontend_of
from agent.explain.manifest_mesh import Mesh, translated
from agent.explain.manifests import Manifests
from agent.explain.render import behaviour, compact, origin
from agent.ir.http import HTTPListenerIR, ListenerIR, Rule, TLSRule
from agent.ir.plan import FrontendName, FrontendPlan, PodPlan
from agent.ir.services import service_name
from agent.ir.tables import Mode
from agent.model.core import Namespace
from agent.model.meta import Key
from agent.model.routes import TCPRoute, UDPRoute
from agent.translate.options import Options

# No pod can be called this.
STAND_IN = "*"


class Pair(NamedTuple):
    """A group of clients, and the Service port that they dial."""

    client: str
    service: str
    port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Way:
    """The handling of a pair's traffic: its path, and on it the rules in their order, each with its weights; and how
    servers learn from the waypoint who the client is.

    Rules of a Route that share a name are one here.
    """

    path: str = TrafficPath.NONE.value
    rules: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    client_identity: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One difference, for all clients that it is the same for. `rule` is empty where it is not about one.

    `what` is `path`, `rule` (its match, filters or timeouts; empty where it is not there), `weights`, `client identity`
    (what tells servers who the client is), or `order` where the rules are the same and another would decide where two
    of them match: Routes of another age.
    """

    service: str
    port: int
    protocol: str
    what: str
    rule: str
    old: str
    new: str
    clients: tuple[str, ...] = ()


def compare(old: Manifests, new: Manifests) -> list[Change]:
    """Every difference, by Service and port; none when both directories have the same effect."""
    spaces = sorted(_namespaces(old) | _namespaces(new))
    before, after = (_ways(manifests, spaces) for manifests in (old, new))
    clients: dict[Change, list[str]] = defaultdict(list)
    for pair in sorted(before.keys() | after.keys()):
        for change in _changes(pair, before.get(pair, Way()), after.get(pair, Way())):
            clients[change].append(pair.client)
    return sorted(
        Change(item.service, item.port, item.protocol, item.what, item.rule, item.old, item.new, tuple(names))
        for item, names in clients.items()
    )


def _changes(pair: Pair, old: Way, new: Way) -> Iterator[Change]:
    where = (pair.service, pair.port, pair.protocol)
    if old.path != new.path:
        yield Change(*where, "path", "", _with_rules(old), _with_rules(new))
        return
    for rule in [*old.rules, *(name for name in new.rules if name not in old.rules)]:
        for what, one, two in (("rule", old.rules, new.rules), ("weights", old.weights, new.weights)):
            if one.get(rule, "") != two.get(rule, ""):
                yield Change(*where, what, rule, one.get(rule, ""), two.get(rule, ""))
    if old.client_identity != new.client_identity:
        yield Change(*where, "client identity", "", old.client_identity, new.client_identity)
    before, after = (
        [name for name in one if name in two] for one, two in ((old.rules, new.rules), (new.rules, old.rules))
    )
    if before != after and all(old.rules[name] == new.rules[name] for name in before):
        yield Change(*where, "order", "", ", ".join(before), ", ".join(after))


def _with_rules(way: Way) -> str:
    """A path, and the Routes that cause it."""
    routes = sorted({name.rpartition(", rule")[0] or name for name in way.rules})
    return f"{way.path} ({', '.join(routes)})" if routes else way.path


def _namespaces(manifests: Manifests) -> set[str]:
    named = {key.name for key in manifests.objects if key.kind == Namespace.__name__}
    return named | {key.namespace for key in manifests.objects if key.namespace}


def _ways(manifests: Manifests, spaces: Iterable[str]) -> dict[Pair, Way]:
    """The handling of every pair's traffic; pairs that are not intercepted are left out."""
    mesh = translated(manifests, Options(), [Key("Pod", space, STAND_IN) for space in spaces])
    frontends = mesh.frontends
    found: dict[Pair, Way] = {}
    seen: dict[tuple[FrontendName, Mode, bool], Way] = {}
    for client, pod in _clients(mesh).items():
        for service, dialled in _ports(mesh):
            name = frontend_of(frontends, pod, dialled)
            if name is not None:
                alike = (name, pod.mode, pod.l4_only)
                if alike not in seen:
                    path = decide(frontends, pod, dialled).path
                    seen[alike] = _way(mesh, path, frontends[name])
                found[Pair(client, service, dialled.port, dialled.protocol.name)] = seen[alike]
    return found


def _clients(mesh: Mesh) -> dict[str, PodPlan]:
    """Enrolled groups of pods that are treated alike, by name: a namespace, and those in it that are not like it."""
    usual = {pod.namespace: pod.mode for key, pod in mesh.pods.items() if key.name == STAND_IN}
    enrolled = [pod for _, pod in sorted(mesh.pods.items()) if pod.mode is not Mode.NONE]
    return {_group(pod, usual[pod.namespace]): pod for pod in enrolled}


def _group(pod: PodPlan, usual: Mode) -> str:
    if pod.l4_only:
        return f"{pod.namespace}, pods on the host's network"
    return pod.namespace if pod.mode is usual else f"{pod.namespace}, pods in mode {pod.mode.label}"


def _ports(mesh: Mesh) -> list[tuple[str, FrontendName]]:
    """Every Service port that has a frontend, by one of its addresses."""
    found = {
        (service_name(plan.service), name.port, name.protocol): name.address for name, plan in mesh.frontends.items()
    }
    return [(where[0], FrontendName(address, where[1], where[2])) for where, address in sorted(found.items())]


def _way(mesh: Mesh, path: TrafficPath, plan: FrontendPlan) -> Way:
    if path is TrafficPath.WAYPOINT and plan.listener is not None:
        rules = mesh.of_listener(plan).listeners[plan.listener]
        grpc = isinstance(rules, HTTPListenerIR) and rules.grpc
        named: dict[str, list[Rule | TLSRule]] = defaultdict(list)
        for rule in rules.rules:
            named[str(origin(rule, grpc))].append(rule)
        contents, weights = (
            {text: "; ".join(map(text_of, found)) for text, found in named.items()} for text_of in (_content, _weights)
        )
        return Way(path.value, contents, weights, _client_identity(rules))
    route = mesh.view().route(plan.routes[0]) if plan.routes else None
    weights = {str(route.key): _l4_weights(route)} if isinstance(route, TCPRoute | UDPRoute) else {}
    return Way(path.value, dict.fromkeys(weights, "applies"), weights)


def _client_identity(listener: ListenerIR) -> str:
    """How servers learn of a listener's clients; empty where they do not."""
    if isinstance(listener, HTTPListenerIR):
        domain = listener.xfcc_trust_domain
        return f"x-forwarded-client-cert, spiffe://{domain}" if domain else ""
    reported = [
        f"{item.cluster}, spiffe://{item.proxy_trust_domain}" for item in listener.backends if item.proxy_trust_domain
    ]
    return f"PROXY protocol to {'; '.join(reported)}" if reported else ""


def _content(rule: Rule | TLSRule) -> str:
    """The content of a rule without its weights."""
    if isinstance(rule, TLSRule):
        return json.dumps({"serverNames": rule.server_names or "any"})
    filtered = [(number, item.filters) for number, item in enumerate(rule.backends) if item.filters]
    parts = {
        "match": compact(rule.match),
        "filters": [compact(item) for item in rule.filters],
        "requestMs": rule.request_timeout,
        "backendRequestMs": rule.backend_timeout,
        "backendFilters": {str(number): [compact(item) for item in filters] for number, filters in filtered},
        **behaviour(rule),
    }
    return json.dumps({name: value for name, value in parts.items() if value})


def _weights(rule: Rule | TLSRule) -> str:
    return ", ".join(f"{item.backend.cluster if item.backend else 'invalid'} {item.weight}" for item in rule.backends)


def _l4_weights(route: TCPRoute | UDPRoute) -> str:
    refs = route.spec.rules[0].backend_refs
    return ", ".join(f"{ref.namespace or route.metadata.namespace}/{ref.name}:{ref.port} {ref.weight}" for ref in refs)
