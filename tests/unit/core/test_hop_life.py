"""Envoys come, go, move and answer late, Routes too, the agent restarts: in the end clients are served.

A model of the node's Envoys stands beside the real Hop and Datapath: what a probe finds is what the model says, and
what counts as proved is compared with the probes that were answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fake_kernel import FakeKernel
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.hop import Hop
from agent.model.meta import Key
from agent.plan.envoys import Envoy
from agent.plan.plan import FrontendName, FrontendPlan, OnLoss
from agent.plan.resources import Json, ResourceName, ResourceType
from agent.plan.tables import Config, Mode, Protocol, Slot, Word, address_bytes
from agent.probing import Probe
from agent.reconcile.datapath import Datapath
from agent.reconcile.frontends import TO_WAYPOINT, frontend_key

ADDRESSES = [f"10.1.1.{number}" for number in (1, 2, 3)]
NAMES = {f"app/{letter}:80": FrontendName(f"10.96.0.{at}", 80, Protocol.TCP) for at, letter in enumerate("abc", 1)}
SLOTS = (Slot(address_bytes("10.244.0.1"), 8080, False, 0, 2**32),)


@dataclass
class Process:
    """One Envoy: whether its stream is there, what it acknowledged on it, and its bound ports."""

    envoy: Envoy
    connected: bool = True
    acknowledged: set[ResourceName] = field(default_factory=set)
    bound: dict[int, str] = field(default_factory=dict)


class Ads:
    """The server of the model: hands over what is published when an Envoy takes it."""

    def __init__(self, processes: dict[str, Process]) -> None:
        self._processes = processes
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}

    @property
    def envoys(self) -> list[Envoy]:
        return [process.envoy for process in self._processes.values() if process.connected]

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        self.resources, self.ports = dict(resources), dict(ports)

    def acknowledged_by(self, envoy: Envoy) -> set[ResourceName]:
        return self._processes[envoy.address].acknowledged & self.resources.keys()


class Life(RuleBasedStateMachine):
    """One node. Time stands still but where a rule lets it pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.started = 0
        self.processes: dict[str, Process] = {}
        self.kernel = FakeKernel()
        self.routes: dict[str, OnLoss] = {}
        # Probes that were accepted, as (address, port, listener), since the listener was last asked for.
        self.proofs: set[tuple[str, int, str]] = set()
        self.start_agent()

    def start_agent(self) -> None:
        self.ads = Ads(self.processes)
        self.hop = Hop(self.ads, lambda: self.now)
        self.datapath = Datapath(self.kernel, Config(), lambda: self.now)
        self.datapath.inherit()
        self.datapath.adopt()
        self.want()
        self.hop.adopt(self.datapath)

    def want(self) -> None:
        plans = {
            name: FrontendPlan(
                Key("Service", "app", listener),
                Mode.L7,
                SLOTS,
                listener if listener in self.routes else None,
                self.routes.get(listener, OnLoss.REJECT),
            )
            for listener, name in NAMES.items()
        }
        self.datapath.want_frontends(plans, ())

    def one_pass(self) -> None:
        """In the order of the loop."""
        resources = {ResourceName(ResourceType.LISTENER, listener): {"name": listener} for listener in self.routes}
        needs = {name.name: frozenset({name}) for name in resources}
        self.datapath.revisit(self.hop.publish(resources, needs))
        self.datapath.revisit(self.hop.decide(self.datapath.serving_ports()))
        self.datapath.move(self.hop.succession.serving, self.hop.succession.beside())
        self.datapath.apply(self.hop.view)

    def take(self, process: Process) -> None:
        """An Envoy makes what was published its own."""
        process.acknowledged = set(self.ads.resources)
        listeners = {name.name for name in self.ads.resources if name.kind is ResourceType.LISTENER}
        process.bound = {port: listener for listener, port in self.ads.ports.items() if listener in listeners}

    def answer(self, probe: Probe) -> bool:
        process = self.processes.get(probe.address)
        accepted = process is not None and probe.port in process.bound
        if accepted and probe.envoy is not None:
            self.proofs.add((probe.address, probe.port, probe.listener))
        return self.hop.took(probe, accepted)

    def word(self, listener: str) -> tuple[Word, int]:
        word, service, _ = self.kernel.reach(frontend_key(NAMES[listener]), Mode.L7)
        return word, service.waypoint_port

    @precondition(lambda self: len(self.processes) < len(ADDRESSES))
    @rule(data=st.data())
    def start_envoy(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from([item for item in ADDRESSES if item not in self.processes]))
        self.started += 1
        self.processes[address] = Process(Envoy(self.started, f"e{self.started}", address))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), what=st.sampled_from(["die", "lose stream", "come back", "take", "take"]))
    def something_about_an_envoy(self, data: st.DataObject, what: str) -> None:
        address = data.draw(st.sampled_from(sorted(self.processes)))
        process = self.processes[address]
        if what == "die":
            del self.processes[address]
        elif what == "lose stream":
            process.connected, process.acknowledged = False, set()
        elif what == "come back":
            process.connected = True
        elif process.connected:
            self.take(process)

    @rule(listener=st.sampled_from(sorted(NAMES)), on_loss=st.sampled_from([None, *OnLoss]))
    def change_a_route(self, listener: str, on_loss: OnLoss | None) -> None:
        """And have a pass, as the loop does with every change."""
        if on_loss is None:
            self.routes.pop(listener, None)
            self.proofs = {proof for proof in self.proofs if proof[2] != listener}
        else:
            self.routes[listener] = on_loss
        self.want()
        self.one_pass()

    @rule()
    def passes(self) -> None:
        self.one_pass()

    @precondition(lambda self: self.hop.probes)
    @rule(data=st.data())
    def answer_one_probe(self, data: st.DataObject) -> None:
        self.answer(data.draw(st.sampled_from(sorted(self.hop.probes, key=str))))

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.one_pass()

    @rule()
    def restart_the_agent(self) -> None:
        """Streams begin anew; what Envoys have bound they keep."""
        for process in self.processes.values():
            process.connected, process.acknowledged = False, set()
        self.proofs = set()
        self.start_agent()
        self.one_pass()

    @precondition(lambda self: self.processes)
    @rule()
    def settle(self) -> None:
        """Nothing happens any more: every Envoy that is left connects and takes what it is given.

        A pass comes when the loop would have one: an Envoy or a probe brought news, a pass changed where clients are
        sent to, or the time for it has come.
        """
        for process in self.processes.values():
            process.connected = True
        due, passes = True, 0
        while due or self.hop.next_end is not None:
            passes += 1
            assert passes < 100, "the loop never rests"
            if not due:
                self.now = max(self.now, self.hop.next_end or 0.0)
            serving = self.datapath.serving_ports()
            self.one_pass()
            before = [process.acknowledged for process in self.processes.values()]
            for process in self.processes.values():
                self.take(process)
            due = before != [process.acknowledged for process in self.processes.values()]
            due |= serving != self.datapath.serving_ports()
            for probe in self.hop.probes:
                due |= self.answer(probe)
            if self.datapath.pending:
                self.now += 0.2
                due = True
        newest = max(process.envoy for process in self.processes.values())
        assert self.kernel.configuration().waypoints()[0] == newest.address
        for listener in self.routes:
            assert self.word(listener) == (TO_WAYPOINT, self.ads.ports[listener])
        assert not self.hop.lost
        assert self.hop.probes == frozenset(), "nothing is tried any more"
        writes = self.kernel.writes
        self.one_pass()
        assert self.kernel.writes == writes

    @invariant()
    def ready_is_what_was_proved_where_clients_are_sent(self) -> None:
        for listener in self.hop.gate.ready:
            port = self.hop.ports.by_listener[listener]
            assert (self.hop.succession.serving, port, listener) in self.proofs


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)
