"""The simulation decides as the kernel's tables do, once everything that is wanted is there."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.datapath.datapath import Datapath
from agent.explain.decision import TrafficPath, decide
from agent.ir.addresses import Family
from agent.ir.identity import name_id
from agent.ir.plan import FrontendName, PodPlan
from agent.ir.tables import (
    ANY_NAMESPACE,
    Action,
    Config,
    FrontendAction,
    FrontendKey,
    Mode,
    PodFlag,
    Protocol,
    address_bytes,
)
from agent.ir.waypoint_state import WaypointState
from agent.model.change import Upsert
from agent.model.core import Namespace, Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import Translator
from support.fakes.kernel import FakeKernel
from support.random_objects import LABELS, OPTIONS, any_routes

UNKNOWN = FrontendName("10.9.9.9", 80, Protocol.TCP)
PATHS = {Action.WAYPOINT: TrafficPath.WAYPOINT, Action.FORWARD: TrafficPath.KERNEL, Action.REJECT: TrafficPath.KERNEL}


@st.composite
def meshes(draw: st.DrawFn) -> list[object]:
    """Two namespaces with two Services and a client each, of any modes, and Routes between them."""
    found: list[object] = [*draw(st.lists(any_routes(), max_size=5))]
    for number, space in enumerate(("app", "shop")):
        found += [
            Namespace(ObjectMeta(space, labels=draw(LABELS))),
            Pod(
                ObjectMeta("client", space, f"uid-{space}", labels=draw(LABELS)),
                PodSpec(host_network=draw(st.booleans())),
                PodStatus("Running"),
            ),
            PodCgroup(f"uid-{space}", 100 + number),
        ]
        for last, name in enumerate(("a", "b")):
            ports = (ServicePort(80, "http"), ServicePort(81, draw(st.sampled_from(["x", "mysql"]))))
            spec = ServiceSpec(cluster_ips=(f"10.96.{number}.{last}",), ports=ports)
            found.append(Service(ObjectMeta(name, space, labels=draw(LABELS)), spec))
    return found


def found_by_kernel(
    kernel: FakeKernel, pod: PodPlan, dialled: FrontendName
) -> tuple[FrontendAction, frozenset[tuple[bytes, int, bool]]] | None:
    """What bpf/decide.h finds: the namespace's row first where the pod's flag says so, then everybody's.

    Who is on the host's network is left alone where others go to the waypoint.
    """
    own = [name_id(pod.namespace)] if pod.flags & PodFlag.CONSUMER_ROUTES else []
    for namespace in (*own, ANY_NAMESPACE):
        key = FrontendKey(namespace, address_bytes(dialled.address), dialled.port, dialled.protocol)
        found = kernel.reach(key, pod.mode) if pod.mode is not Mode.NONE else None
        if found is not None:
            if pod.flags & PodFlag.L4_ONLY and found[0].kind is Action.WAYPOINT:
                return None
            return found[0], found[2]
    return None


@settings(max_examples=200, deadline=None)
@given(meshes())
def test_the_simulation_decides_as_the_tables_do(values: list[object]) -> None:
    store = Store()
    translator = Translator(store, OPTIONS)
    translator.update([Upsert(value) for value in values])  # type: ignore[arg-type]
    outputs = list(translator.outputs.values())
    frontends = {name: plan for item in outputs for name, plan in item.frontends.items()}
    listeners = {plan.listener for plan in frontends.values() if plan.listener}
    kernel = FakeKernel(frontends=256, slots=4096)
    datapath = Datapath(kernel, Config(), lambda: 0.0)
    datapath.adopt()
    datapath.want_frontends(frontends, ())
    ports = {name: number for number, name in enumerate(sorted(listeners), start=20000)}
    datapath.apply(WaypointState(ports, frozenset(product(listeners, Family))))
    assert not datapath.failures
    dialled = {FrontendName(name.address, name.port, name.protocol) for name in frontends} | {UNKNOWN}
    for pod in (pod for item in outputs for pod in item.pods.values()):
        for name in dialled:
            decision, found = decide(frontends, pod, name), found_by_kernel(kernel, pod, name)
            assert decision.path is (PATHS[found[0].kind] if found else TrafficPath.NONE)
            if found and decision.plan and decision.path is TrafficPath.KERNEL:
                assert found[1] == {(slot.address, slot.port, slot.reject) for slot in decision.plan.slots}
