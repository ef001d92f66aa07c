"""The loop: what is written when, and what happens when Envoy or the kernel fails. Translation is the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from fake_kernel import FakeKernel

from agent.core import Core
from agent.model.change import Change, Delete, Problem, Resolved, Synced, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key, Object
from agent.plan.envoys import Envoy
from agent.plan.plan import FrontendName, Json, ResourceName, Xds
from agent.plan.tables import Action, Config, Mode, Protocol, Reason, Word
from agent.reconcile.datapath import Datapath
from agent.reconcile.driver import Shrunk
from agent.reconcile.frontends import frontend_key
from agent.sources.decode import decode
from agent.sources.documents import split
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.world import World

NAME = FrontendName("10.96.0.1", 80, Protocol.TCP)
WEB = frontend_key(NAME)
LISTENER = "app/web:80"
SERVICE = Key("Service", "app", "web")
LOST = Word(Action.REJECT, Reason.WAYPOINT_LOST)
SERVICE_TEXT = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: app, labels: {kubernetes.io/service-name: web}}
ports: [{port: 8080, name: http}]
endpoints: [{addresses: [10.1.0.7]}]
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
"""
TEXT = f"""
{{apiVersion: v1, kind: Namespace, metadata: {{name: app, labels: {{weft.dev/mode: l7}}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: app, uid: u-1}}
spec: {{nodeName: here}}
status: {{phase: Running, podIP: 10.1.0.1}}
---
{SERVICE_TEXT}
---
{ROUTE}"""
SECOND = SERVICE_TEXT.replace("web", "other").replace("10.96.0.1", "10.96.0.2")
BLUE, GREEN = Envoy(1, "blue", "10.1.1.1"), Envoy(2, "green", "10.1.1.2")
POD = PodCgroup("u-1", 42)


def upserts(text: str) -> list[Change]:
    found = [item for document in split(text, False) for item in decode(document.value, "here")]
    return [Upsert(item) for item in found if isinstance(item, Object)]


class Source:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[list[Change]] = asyncio.Queue()

    def say(self, *changes: Change) -> None:
        self._batches.put_nowait(list(changes))

    async def changes(self) -> AsyncIterator[list[Change]]:
        while True:
            yield await self._batches.get()


class FakeAds:
    """An Envoy that acknowledges everything, or nothing."""

    def __init__(self) -> None:
        self.envoys = [BLUE]
        self.acknowledges = False
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}

    def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        self.resources, self.ports = dict(resources), dict(ports)

    def acknowledged_by(self, envoy: Envoy) -> set[ResourceName]:
        return set(self.resources) if self.acknowledges else set()


class Node:
    """A core with everything around it. Envoy's listeners accept connections where `listens`."""

    def __init__(self, kernel: FakeKernel, audit_seconds: float = 60.0) -> None:
        self.kernel = kernel
        self.ads = FakeAds()
        self.listens = self.refused = False
        self.silent: set[str] = set()
        self.tried: list[int] = []
        self.drifts: list[int] = []
        self.manifests, self.facts = Source(), Source()
        clock = asyncio.get_running_loop().time
        translator = Translator(World(), Options("here"))
        self.detached = ["weft_connect4"]
        self.attached: list[tuple[str, int]] = []
        self.core = Core(translator, Datapath(kernel, Config(), clock), self.ads, self, self, audit_seconds)
        self._tasks: list[asyncio.Task[None]] = []

    async def accepts(self, address: str, port: int) -> bool | None:
        self.tried.append(port)
        if self.refused:
            return None
        return self.listens and address not in self.silent

    def attach(self) -> list[str]:
        names, self.detached = self.detached, []
        self.attached += [(name, len(self.kernel.frontends.rows)) for name in names]
        return names

    def shrunk(self, frontends: list[Shrunk]) -> None:
        pass

    def applied(self, writes: int, seconds: float) -> None:
        assert seconds >= 0

    def drifted(self, rows: int) -> None:
        self.drifts.append(rows)

    async def start(self) -> None:
        follow = (
            self.core.follow("manifests", self.manifests.changes()),
            self.core.follow("node", self.facts.changes()),
        )
        self._tasks = [asyncio.create_task(item) for item in follow]
        await asyncio.sleep(0)
        self._tasks.append(asyncio.create_task(self.core.run()))

    async def synced(self, text: str = TEXT) -> None:
        """Start and say everything that there is."""
        await self.start()
        self.manifests.say(*upserts(text), Synced("manifests"))
        self.facts.say(Upsert(POD), Synced("node"))
        await self.until(lambda: self.core.ready)

    async def serving(self) -> None:
        """Go on until clients are sent to the waypoint."""
        self.listens = self.ads.acknowledges = True
        self.core.wake()
        await self.until(lambda: self.word() == Word(Action.WAYPOINT))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():
                for task in self._tasks:
                    assert not task.done(), task
                await asyncio.sleep(0.005)

    async def passes(self, act: Callable[[], object] = lambda: None) -> None:
        """Let the loop look at everything again, more than once."""
        act()
        for _ in range(3):
            self.core.wake()
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """What is in the kernel stays. Asked again where one request to end was not heard."""
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)
        self._tasks = []

    def word(self, client: Mode = Mode.L7) -> Word | None:
        found = self.kernel.reach(WEB, client)
        return found[0] if found else None


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node(FakeKernel())
    yield made
    await made.kill()


async def test_nothing_is_written_before_every_source_has_said_all_it_knows(node: Node):
    await node.start()
    node.manifests.say(*upserts(TEXT), Synced("manifests"))
    await node.passes()
    assert (node.kernel.writes, node.ads.resources, node.core.synced, node.core.ready) == (0, {}, False, False)
    node.facts.say(Upsert(POD), Synced("node"))
    await node.until(lambda: node.core.ready)
    assert node.core.synced
    assert node.kernel.pods.rows.keys() == {42}
    assert node.kernel.frontends.rows.keys() == {WEB}


async def test_rows_of_an_earlier_agent_are_deleted_only_after_everybody_has_synced(node: Node):
    await node.synced()
    await node.kill()
    later = Node(node.kernel)
    await later.start()
    later.manifests.say(*upserts(TEXT)[:1])
    later.facts.say(Synced("node"))
    await later.passes()
    assert WEB in node.kernel.frontends.rows
    later.manifests.say(Synced("manifests"))
    await later.until(lambda: later.core.ready)
    assert not node.kernel.frontends.rows
    await later.kill()


async def test_traffic_flips_only_when_envoy_has_acknowledged_and_accepts(node: Node):
    await node.synced()
    assert Xds.LISTENER in {name.kind for name in node.ads.resources}
    node.listens = True
    await node.passes()
    assert (node.word().action, node.tried) == (Action.FORWARD, [])
    node.listens, node.ads.acknowledges = False, True
    await node.passes()
    assert node.tried
    assert node.word().action is Action.FORWARD
    await node.serving()
    assert set(node.tried) == {node.ads.ports[LISTENER]}
    assert node.kernel.reach(WEB, Mode.L7)[1].waypoint_port == node.ads.ports[LISTENER]


async def test_a_listener_that_does_not_answer_yet_is_tried_again_without_being_asked(node: Node):
    node.ads.acknowledges = True
    await node.synced()
    await node.until(lambda: len(node.tried) > 1)
    node.listens = True
    await node.until(lambda: node.word() == Word(Action.WAYPOINT))


async def test_the_policy_applies_when_the_waypoint_is_lost_until_it_is_back(node: Node):
    await node.synced()
    await node.serving()
    node.listens, node.ads.envoys = False, []
    await node.passes()
    assert (node.core.hop.lost, node.word(), node.word(Mode.L4)) == (True, LOST, LOST)
    node.ads.envoys = [BLUE]
    await node.passes()
    assert node.word() == LOST, "connected is not yet listening"
    await node.serving()
    assert not node.core.hop.lost


async def test_on_loss_kernel_lets_the_kernel_serve(node: Node):
    relaxed = TEXT.replace("{name: web, namespace: app}", "{name: web, namespace: app, annotations: {A}}", 1)
    relaxed = relaxed.replace("{A}", "{weft.dev/on-waypoint-loss: kernel}")
    await node.synced(relaxed)
    await node.serving()
    node.listens, node.ads.envoys = False, []
    await node.passes()
    assert node.core.hop.lost
    assert node.word().action is Action.FORWARD


async def test_a_broken_stream_is_no_loss_while_envoy_serves(node: Node):
    await node.synced()
    await node.serving()
    node.ads.envoys = []
    await node.passes()
    assert (node.core.hop.lost, node.word()) == (False, Word(Action.WAYPOINT))


def waypoint(node: Node) -> tuple[str, list[str]]:
    return node.kernel.configuration().waypoints()


async def test_a_second_envoy_takes_over_when_it_serves_what_the_first_one_does(node: Node):
    await node.synced()
    await node.serving()
    assert waypoint(node) == (BLUE.address, [])
    node.silent = {GREEN.address}
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    assert waypoint(node) == (BLUE.address, [GREEN.address])
    writes = node.kernel.writes
    node.silent = set()
    await node.until(lambda: waypoint(node) == (GREEN.address, [BLUE.address]))
    assert node.core.hop.succession.retired == [BLUE]
    assert node.kernel.writes == writes, "one store of the configuration moves everybody"
    await node.passes()
    assert (waypoint(node)[0], node.word()) == (GREEN.address, Word(Action.WAYPOINT))


async def test_an_agent_that_comes_back_does_not_go_back_to_the_retired_envoy(node: Node):
    await node.synced()
    await node.serving()
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    await node.until(lambda: waypoint(node)[0] == GREEN.address)
    await node.kill()
    later = Node(node.kernel)
    later.listens = later.ads.acknowledges = True
    await later.synced()
    await later.passes()
    assert waypoint(later) == (GREEN.address, [BLUE.address])
    later.ads.envoys.append(GREEN)
    await later.passes()
    assert later.core.hop.succession.retired == [BLUE]
    await later.kill()


async def test_a_waypoint_that_the_agent_may_not_try_yet_is_not_lost(node: Node):
    await node.synced()
    await node.serving()
    node.refused, node.ads.envoys = True, []
    await node.passes()
    assert (node.core.hop.lost, node.word()) == (False, Word(Action.WAYPOINT))
    node.refused = node.listens = False
    await node.passes()
    assert (node.core.hop.lost, node.word()) == (True, LOST)


async def test_when_the_one_that_serves_is_lost_another_takes_its_place(node: Node):
    await node.synced()
    await node.serving()
    await node.passes(lambda: node.ads.envoys.append(GREEN))
    await node.until(lambda: waypoint(node)[0] == GREEN.address)
    node.ads.envoys, node.silent = [BLUE], {GREEN.address}
    node.core.wake()
    await node.until(lambda: waypoint(node)[0] == BLUE.address)
    await node.passes()
    assert (node.core.hop.lost, node.word()) == (False, Word(Action.WAYPOINT))


async def test_a_lost_waypoint_comes_back_at_another_address(node: Node):
    await node.synced()
    await node.serving()
    node.listens, node.ads.envoys = False, []
    await node.passes()
    assert node.core.hop.lost
    node.ads.envoys = [GREEN]
    await node.serving()
    assert (waypoint(node)[0], node.core.hop.lost) == (GREEN.address, False)


async def test_a_listener_lingers_for_those_who_are_connected(node: Node):
    await node.synced()
    await node.serving()
    node.manifests.say(Delete(Key("HTTPRoute", "app", "web")))
    await node.until(lambda: node.word().action is Action.FORWARD)
    assert ResourceName(Xds.LISTENER, LISTENER) in node.ads.resources
    assert LISTENER in node.ads.ports
    assert node.core.hop.gate.state(LISTENER) == "leaving"


async def test_what_is_gone_is_deleted(node: Node):
    await node.synced()
    node.manifests.say(Delete(SERVICE))
    node.facts.say(Delete(POD.key))
    await node.until(lambda: not node.kernel.frontends.rows and not node.kernel.pods.rows)


async def test_a_restart_changes_nothing(node: Node):
    await node.synced()
    await node.serving()
    await node.kill()
    before, port = node.kernel.writes, node.ads.ports[LISTENER]
    later = Node(node.kernel)
    await later.synced()
    assert later.word() == Word(Action.WAYPOINT), "nothing has proved itself, and nobody is moved"
    await later.serving()
    assert later.ads.ports == {LISTENER: port}
    assert node.kernel.writes == before
    await later.kill()


async def test_an_audit_heals_what_somebody_changed():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.synced()
    await node.until(lambda: node.drifts)
    assert set(node.drifts) == {0}
    del node.kernel.frontends.rows[WEB], node.kernel.pods.rows[42]
    await node.until(lambda: WEB in node.kernel.frontends.rows and 42 in node.kernel.pods.rows)
    assert max(node.drifts) == 2
    await node.until(lambda: node.drifts[-1] == 0)
    await node.kill()


async def test_the_programs_run_when_their_tables_are_full_and_again_when_somebody_took_them_away():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.start()
    node.manifests.say(*upserts(TEXT), Synced("manifests"))
    await node.passes()
    assert (node.attached, node.core.ready) == ([], False)
    node.facts.say(Upsert(POD), Synced("node"))
    await node.until(lambda: node.core.ready)
    assert node.attached == [("weft_connect4", len(node.kernel.frontends.rows))]
    assert len(node.kernel.frontends.rows) > 0
    node.detached = ["weft_sendmsg4"]
    await node.until(lambda: len(node.attached) == 2)
    await node.until(lambda: 1 in node.drifts)
    await node.kill()


async def test_an_audit_heals_the_configuration():
    node = Node(FakeKernel(), audit_seconds=0.1)
    await node.synced()
    node.kernel.configure(Config(first_level=7))
    await node.until(lambda: node.kernel.configuration() == Config().with_waypoints(BLUE.address, ()))
    assert max(node.drifts) == 1
    await node.kill()


@pytest.mark.parametrize("writes", range(6))
async def test_a_kernel_that_refuses_is_asked_again(node: Node, writes: int):
    node.kernel.fuse.left = writes
    await node.start()
    node.manifests.say(*upserts(TEXT), Synced("manifests"))
    node.facts.say(Upsert(POD), Synced("node"))
    await node.until(lambda: node.kernel.fuse.left == 0)
    await asyncio.sleep(0.05)
    node.kernel.fuse.left = None
    await node.until(lambda: node.core.ready)
    assert node.word().action is Action.FORWARD
    assert 42 in node.kernel.pods.rows


async def test_what_does_not_fit_is_said_and_hurts_nobody_else():
    node = Node(FakeKernel(frontends=1))
    await node.start()
    node.manifests.say(*upserts(TEXT + "---" + SECOND), Synced("manifests"))
    node.facts.say(Upsert(POD), Synced("node"))
    await node.until(lambda: node.core.failures)
    assert node.core.failures.keys() == {"10.96.0.2:80/TCP"}
    assert node.kernel.frontends.rows.keys() == {WEB}
    assert node.core.datapath.pending == 1
    await node.kill()


async def test_a_listener_without_room_is_said_and_its_policy_applies():
    node = Node(FakeKernel())
    node.ads.envoys = [Envoy(1, "small", BLUE.address, room=1)]
    more = SECOND + "---" + ROUTE.replace("web", "other")
    await node.synced(TEXT + "---" + more)
    await node.passes()
    assert set(node.core.hop.failures) == {LISTENER}, "the first by name has the place"
    assert (node.word(), node.core.datapath.pending, node.core.ready) == (LOST, 0, True)
    node.ads.envoys = [Envoy(1, "small", BLUE.address, room=4)]
    await node.serving()
    assert node.core.hop.failures == {}
    await node.kill()


async def test_problems_are_kept_until_they_are_resolved(node: Node):
    await node.synced()
    problem = Problem("a.yaml:1", "Service app/x", "spec", "is wrong")
    node.manifests.say(problem)
    await node.until(lambda: node.core.problems == {"a.yaml:1": problem})
    node.manifests.say(Resolved("a.yaml:1"))
    await node.until(lambda: not node.core.problems)


@pytest.fixture
def unreadable(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The kernel's pods cannot be read at first; how often it was tried."""
    tried: list[int] = []
    load: Callable[[], dict[int, object]] = node.kernel.pods.load

    def fail() -> dict[int, object]:
        tried.append(1)
        if len(tried) < 4:
            raise OSError(4, "interrupted")
        return load()

    monkeypatch.setattr(node.kernel.pods, "load", fail)
    return tried


async def test_tables_that_cannot_be_read_are_read_again(node: Node, unreadable: list[int]):
    await node.synced()
    assert len(unreadable) >= 4
    assert node.word().action is Action.FORWARD


async def test_the_loop_ends_when_it_is_told_to_while_it_is_woken(node: Node):
    await node.synced()
    await asyncio.sleep(0.1)
    loop = asyncio.create_task(node.core.run())
    await asyncio.sleep(0.05)
    node.core.wake()
    loop.cancel()
    done, _ = await asyncio.wait({loop}, timeout=2)
    if not done:
        loop.cancel()
    assert done
