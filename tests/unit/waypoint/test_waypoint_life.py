"""Envoys come, go, move, refuse and answer late, Routes come and go, the agent restarts: in the end clients are served.

A model of the node's Envoys stands beside the real state machine and the real Datapath, which take turns in any order:
what a probe finds is what the model says, and where the kernel sends clients is compared with the probes that were
accepted.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.datapath.datapath import Applied, Datapath
from agent.datapath.frontends import TO_WAYPOINT, frontend_key
from agent.ir.addresses import Addresses, Family
from agent.ir.envoy import Envoy
from agent.ir.plan import FrontendName, FrontendPlan, OnLoss
from agent.ir.resources import ResourceName, ResourceType
from agent.ir.tables import Action, Config, FrontendAction, Mode
from agent.ir.waypoint_state import WaypointState
from agent.model.meta import Key
from agent.waypoint.state_machine import Probe, WaypointStateMachine
from support.fakes.envoys import LISTENERS, NAMES, PODS, SLOTS, Process, at
from support.fakes.kernel import FakeKernel

# Passes of either controller until nothing changes any more.
BOUND = 40


class Life(RuleBasedStateMachine):
    """One node. Time stands still but where a rule lets it pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.started = 0
        self.processes: dict[Addresses, Process] = {}
        # Addresses that drop whatever is sent there.
        self.blocked: set[str] = set()
        self.kernel = FakeKernel()
        self.routes: dict[str, OnLoss] = {}
        # Probes that were accepted, as (address, port, listener), since the listener was last asked for.
        self.proofs: set[tuple[str, int, str]] = set()
        # Answers on their way to the agent.
        self.answers: dict[Probe, bool] = {}
        self.start_agent()

    def start_agent(self) -> None:
        self.published: dict[str, int] = {}
        self.in_publication: tuple[dict[str, frozenset[ResourceName]], dict[str, int]] | None = None
        self.answers = {}
        self.datapath = Datapath(self.kernel, Config(), lambda: self.now)
        inherited = self.datapath.inherit()
        self.machine = WaypointStateMachine(self.datapath.take_over(inherited, self.plans(), {}, ()), self.now)

    def plans(self) -> dict[FrontendName, FrontendPlan]:
        return {
            name: FrontendPlan(
                Key("Service", "app", listener),
                Mode.L7,
                SLOTS,
                listener if listener in self.routes else None,
                self.routes.get(listener, OnLoss.REJECT),
            )
            for (listener, _), name in NAMES.items()
        }

    def connected(self) -> dict[Envoy, frozenset[ResourceName]]:
        return {
            process.envoy: frozenset(name for name in process.acknowledged if name.name in self.published)
            for process in self.processes.values()
            if process.connected
        }

    def waypoint_pass(self) -> None:
        """What the waypoint's controller does."""
        self.publish()
        self.publish_slowly()
        self.publish()
        self.machine.connect(self.connected(), self.now)
        self.advance()

    def advance(self) -> None:
        effects = self.machine.advance()
        # Attempts that are not wanted any more are given up.
        self.answers = {probe: found for probe, found in self.answers.items() if probe in effects.probes}
        state = effects.state
        for listener, family in state.ready:
            proof = at(state.active, family), state.ports[listener], listener
            assert proof in self.proofs, "ready and never proved"

    def publish_slowly(self) -> None:
        """What is wanted now begins to be encoded; until that is done, all is as it was."""
        self.machine.connect(self.connected(), self.now)
        needs = {name: frozenset({ResourceName(ResourceType.LISTENER, name)}) for name in self.routes}
        self.in_publication = needs, self.machine.assign(needs, self.now)

    def publish(self) -> None:
        """What was encoded is what Envoys get from now on."""
        if self.in_publication is not None:
            needs, self.published = self.in_publication
            self.machine.want(needs, self.now)
            self.in_publication = None

    def datapath_pass(self, steps: int | None = None) -> None:
        """What the datapath's controller does with the latest state; in between clients are sent somewhere too."""
        state: WaypointState = self.machine.effects.state
        self.datapath.want_frontends(self.plans(), ())
        self.datapath.follow(state)
        for step, _ in enumerate(self.datapath.applying(Applied())):
            self.clients_are_sent_only_where_a_listener_was_proved()
            if step == steps:
                return
        wanted = self.routes.keys() | self.machine.readiness.wanted
        sent = {listener for listener, family in NAMES if self.action(listener, family)[0] == TO_WAYPOINT}
        gone = set(LISTENERS) - wanted - sent
        self.proofs = {proof for proof in self.proofs if proof[2] not in gone}
        self.machine.send_to(self.datapath.sent_to, state)

    def take(self, process: Process) -> None:
        """An Envoy makes what was published its own, but for what it refuses."""
        taken = {port: name for name, port in self.published.items() if name not in process.refuses}
        process.acknowledged = frozenset(ResourceName(ResourceType.LISTENER, name) for name in taken.values())
        process.bound = taken

    def try_at(self, probe: Probe) -> None:
        there = (process for addresses, process in self.processes.items() if probe.address in addresses)
        process = next(there, None)
        accepted = process is not None and probe.port in process.bound and probe.address not in self.blocked
        if accepted and probe.envoy is not None:
            self.proofs.add((probe.address, probe.port, probe.listener))
        self.answers[probe] = accepted

    def action(self, listener: str, family: Family) -> tuple[FrontendAction, int]:
        found = self.kernel.reach(frontend_key(NAMES[listener, family]), Mode.L7)
        return (found[0], found[1].waypoint_port) if found else (FrontendAction(Action.PASS), 0)

    @precondition(lambda self: len(self.processes) < len(PODS))
    @rule(data=st.data())
    def start_envoy(self, data: st.DataObject) -> None:
        self.starts(data.draw(st.sampled_from([item for item in PODS if item not in self.processes])))

    def starts(self, addresses: Addresses) -> None:
        self.started += 1
        self.processes[addresses] = Process(Envoy(self.started, f"e{self.started}", addresses))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), what=st.sampled_from(["die", "restart", "lose stream", "come back", "take", "take"]))
    def something_about_an_envoy(self, data: st.DataObject, what: str) -> None:
        addresses = data.draw(st.sampled_from(sorted(self.processes)))
        process = self.processes[addresses]
        if what == "die":
            del self.processes[addresses]
        elif what == "restart":
            self.starts(addresses)
        elif what == "lose stream":
            process.connected, process.acknowledged = False, frozenset()
        elif what == "come back":
            process.connected = True
        elif process.connected:
            self.take(process)

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), listener=st.sampled_from(LISTENERS))
    def refuse(self, data: st.DataObject, listener: str) -> None:
        addresses = data.draw(st.sampled_from(sorted(self.processes)))
        self.processes[addresses].refuses.add(listener)

    @rule(address=st.sampled_from([address for pod in PODS for address in pod]))
    def block_or_not(self, address: str) -> None:
        self.blocked ^= {address}

    @rule(listener=st.sampled_from(LISTENERS), on_loss=st.sampled_from([None, *OnLoss]))
    def change_a_route(self, listener: str, on_loss: OnLoss | None) -> None:
        if on_loss is None:
            self.routes.pop(listener, None)
        else:
            self.routes[listener] = on_loss

    @rule()
    def waypoint_controller(self) -> None:
        self.waypoint_pass()

    @precondition(lambda self: self.in_publication is None)
    @rule()
    def publication_begins(self) -> None:
        self.publish_slowly()

    @rule()
    def waypoint_controller_while_something_is_encoded(self) -> None:
        self.machine.connect(self.connected(), self.now)
        self.advance()

    @rule()
    def datapath_controller(self) -> None:
        self.datapath_pass()

    @rule()
    def both(self) -> None:
        self.waypoint_pass()
        self.datapath_pass()

    @precondition(lambda self: self.machine.effects.probes - self.answers.keys())
    @rule(data=st.data())
    def one_attempt(self, data: st.DataObject) -> None:
        self.try_at(data.draw(st.sampled_from(sorted(self.machine.effects.probes - self.answers.keys(), key=str))))

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), dropped=st.booleans())
    def one_answer(self, data: st.DataObject, dropped: bool) -> None:
        probe = data.draw(st.sampled_from(sorted(self.answers, key=str)))
        accepted = self.answers.pop(probe)
        if not dropped:
            self.machine.answer(probe, accepted)

    @rule(seconds=st.sampled_from([0.5, 2.0, 6.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(steps=st.sampled_from([None, 0, 1, 2, 3]))
    def restart_the_agent(self, steps: int | None) -> None:
        """Perhaps amid a pass. Streams begin anew; what Envoys have bound they keep."""
        if steps is not None:
            self.datapath_pass(steps)
        for process in self.processes.values():
            process.connected, process.acknowledged = False, frozenset()
        self.start_agent()

    @precondition(lambda self: self.processes)
    @rule()
    def settle(self) -> None:
        """Nothing happens any more: every Envoy that is left connects, stays, and takes what it is given.

        Either controller has a pass when there is news for it, or its deadline has come.
        """
        self.blocked = set()
        for process in self.processes.values():
            process.connected, process.refuses = True, set()
        passes, due = 0, True
        while due or self.machine.effects.deadline is not None:
            passes += 1
            assert passes < BOUND, "it never rests"
            if not due:
                self.now = max(self.now, self.machine.effects.deadline or 0.0)
            before = self.seen()
            self.waypoint_pass()
            for process in self.processes.values():
                self.take(process)
            self.datapath_pass()
            due = False
            for probe in self.machine.effects.probes:
                self.try_at(probe)
                due |= self.machine.answer(probe, self.answers.pop(probe))
            if self.datapath.pending:
                self.now += 0.2
            due |= before != self.seen() or bool(self.datapath.pending)
        self.is_settled()

    def seen(self) -> object:
        """What either controller hears of the other, and of Envoys."""
        return self.machine.effects.state, self.datapath.sent_to, self.connected()

    def is_settled(self) -> None:
        newest = max(process.envoy for process in self.processes.values())
        assert self.kernel.configuration().waypoints()[0] == newest.addresses
        for listener, family in NAMES:
            action, port = self.action(listener, family)
            if listener not in self.routes:
                assert action.kind is Action.FORWARD
            elif family in newest.addresses.families:
                assert (action, port) == (TO_WAYPOINT, self.published[listener])
            else:
                assert action.kind is (Action.FORWARD if self.routes[listener] is OnLoss.KERNEL else Action.REJECT)
        assert {self.machine.phases()[listener] for listener in self.routes} <= {"ready"}
        assert not self.machine.lost
        assert self.machine.effects.probes == frozenset(), "nothing is tried any more"
        writes = self.kernel.writes
        self.waypoint_pass()
        self.datapath_pass()
        assert self.kernel.writes == writes

    @invariant()
    def clients_are_sent_only_where_a_listener_was_proved(self) -> None:
        active, _ = self.kernel.configuration().waypoints()
        for listener, family in NAMES:
            action, port = self.action(listener, family)
            proof = at(active, family), port, listener
            assert action != TO_WAYPOINT or proof in self.proofs, proof


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)
