"""From whom the waypoint's listeners take connections, and who they are: pods of this node, by address (§5)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from operator import attrgetter

from agent.ir.plan import Output, PodPlan
from agent.ir.policy import ServiceAccount
from agent.store.store import TrackedView
from agent.translate.parameters import mesh_parameters
from agent.translate.policies import has_policies


def translate_client_allow_list(view: TrackedView) -> Output:
    """One list for listeners of all clients, and one for each namespace with consumer routes. The kernel's list has the
    addresses of all of them. The accounts of these addresses are there while there are policies, or servers get
    the identities of their clients.
    """
    found = view.computed("allow-listed-clients", "")
    sent = view.identities_wanted()
    accounts = view.computed("client-accounts", "") if sent or has_policies(view) else None
    by_namespace: Mapping[str, tuple[str, ...]] = found if isinstance(found, Mapping) else {}
    clients = sorted({address for addresses in by_namespace.values() for address in addresses})
    lists = {"": tuple(clients)} | {
        namespace: addresses for namespace, addresses in by_namespace.items() if view.has_consumer_routes(namespace)
    }
    return Output(
        client_allow_lists=lists,
        accounts=accounts if isinstance(accounts, Mapping) else {},
        trust_domain=mesh_parameters(view).spec.trust_domain if sent else "",
        clients=frozenset(clients),
    )


def allow_listed_clients(pods: Iterable[PodPlan]) -> Mapping[str, tuple[str, ...]]:
    """Addresses on the waypoint's client allow-list by namespace, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for pod in filter(attrgetter("allow_listed"), pods):
        found[pod.namespace].update(pod.addresses)
    return {namespace: tuple(sorted(addresses)) for namespace, addresses in sorted(found.items())}


def client_accounts(pods: Iterable[PodPlan]) -> Mapping[str, ServiceAccount]:
    """The service accounts of addresses on the waypoint's client allow-list; none of an address that pods of different
    accounts have.
    """
    found: dict[str, set[ServiceAccount]] = defaultdict(set)
    for pod in filter(attrgetter("allow_listed"), pods):
        for address in pod.addresses:
            found[address].add(ServiceAccount(pod.namespace, pod.service_account))
    certain = ((address, next(iter(accounts))) for address, accounts in sorted(found.items()) if len(accounts) == 1)
    return {address: account for address, account in certain if account.name}
