"""Manifests translated for one node that all of their pods run on.

Manifests lack what a cluster adds: uids, cluster IPs, pods of Deployments. Values are assumed for them here, so that a
Service has a frontend and a pod a row. Commands report these assumptions where they can matter.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from agent.explain.manifests import Manifests
from agent.ir.plan import FrontendName, FrontendPlan, Output, PodPlan
from agent.model.change import Change, Keyed, Upsert
from agent.model.core import Pod, PodStatus, Service, ServiceCIDR
from agent.model.facts import PodCgroup
from agent.model.meta import Key, ObjectMeta
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator
from agent.translate.options import Options

# For benchmarks (RFC 2544), so that no cluster uses this range.
ANY_RANGE = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))
ASSUMED_RANGE = ipaddress.IPv4Network("198.18.0.0/15")


@dataclass(frozen=True, slots=True)
class Mesh:
    """The store, and the outputs of translation for a node of the cluster."""

    store: Store
    outputs: tuple[Output, ...]

    def view(self) -> TrackedView:
        """A fresh look at the store."""
        return TrackedView(self.store)

    @property
    def frontends(self) -> Mapping[FrontendName, FrontendPlan]:
        """Every frontend of the kernel."""
        return {name: plan for item in self.outputs for name, plan in item.frontends.items()}

    def of_listener(self, plan: FrontendPlan) -> Output:
        """The output with a frontend's listener; an empty one where it has none."""
        return next((item for item in self.outputs if plan.listener in item.listeners), Output())

    @property
    def pods(self) -> Mapping[Key, PodPlan]:
        """Every pod of the node."""
        return {plan.pod: plan for item in self.outputs for plan in item.pods.values()}


def translated(manifests: Manifests, options: Options, clients: Iterable[Key] = ()) -> Mesh:
    """The translation of manifests. `clients` are pods that are assumed where the manifests have none."""
    objects = dict(manifests.objects)
    for key in clients:
        if key not in objects:
            objects[key] = Pod(ObjectMeta(key.name, key.namespace), status=PodStatus("Running"))
    completed = [*_with_uids(objects.values()), *_with_addresses(objects.values())]
    objects |= {value.key: value for value in completed}
    pods = [value for value in objects.values() if isinstance(value, Pod)]
    facts = [PodCgroup(pod.metadata.uid, number) for number, pod in enumerate(pods, start=1)]
    changes: list[Change] = [Upsert(value) for value in (*objects.values(), *facts)]
    store = Store()
    translator = Translator(store, _with_ranges(options, objects.values()))
    translator.update(changes)
    return Mesh(store, tuple(translator.outputs.values()))


def _with_ranges(options: Options, objects: Iterable[Keyed]) -> Options:
    """The options; where the manifests have no ranges for imports, any address is assumed to be in range."""
    known = options.clusterset_cidrs or any(isinstance(value, ServiceCIDR) for value in objects)
    return options if known else dataclasses.replace(options, clusterset_cidrs=ANY_RANGE)


def has_assumed_address(service: Service) -> bool:
    """Whether the API server has yet to give a Service its cluster IP."""
    return not service.spec.cluster_ip and not service.spec.cluster_ips and service.spec.type != "ExternalName"


def _with_uids(objects: Iterable[Keyed]) -> Iterator[Pod]:
    """Pods, each with a uid of its own."""
    for value in objects:
        if isinstance(value, Pod):
            yield replace(value, metadata=replace(value.metadata, uid=f"{value.key}"))


def _with_addresses(objects: Iterable[Keyed]) -> Iterator[Service]:
    """Services without a cluster IP, each with a unique one."""
    services = sorted((value for value in objects if isinstance(value, Service)), key=lambda value: value.key)
    taken = {address for service in services for address in service.cluster_ips}
    free = (str(address) for address in ASSUMED_RANGE.hosts() if str(address) not in taken)
    for service in services:
        if has_assumed_address(service):
            yield replace(service, spec=replace(service.spec, cluster_ips=(next(free),)))
