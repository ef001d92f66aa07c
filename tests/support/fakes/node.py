"""A datapath controller with the real translation, and fakes of all other parts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from agent.datapath.datapath import Datapath
from agent.datapath.driver import BackendsRemoved
from agent.datapath.frontends import frontend_key
from agent.internal_errors import InternalErrors
from agent.ir.addresses import Addresses
from agent.ir.envoy import Envoy
from agent.ir.plan import FrontendName
from agent.ir.resources import Json, ResourceName
from agent.ir.tables import Action, Config, FrontendAction, Mode, Protocol, Reason
from agent.ir.waypoint_state import ClientsRevoked
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Synced, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key, Object
from agent.node.change_queue import ChangeQueue
from agent.node.datapath_controller import DatapathController
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from agent.waypoint.rendering import CONFIGURATION_BYTES, Rendering
from support.fakes.kernel import FakeKernel

NAME = FrontendName("10.96.0.1", 80, Protocol.TCP)
WEB = frontend_key(NAME)
OTHER = frontend_key(FrontendName("10.96.0.2", 80, Protocol.TCP))
LISTENER = "app/web:80"
SERVICE = Key("Service", "app", "web")
LOST = FrontendAction(Action.REJECT, Reason.WAYPOINT_LOST)
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
BLUE, GREEN = Envoy(1, "blue", Addresses("10.1.1.1")), Envoy(2, "green", Addresses("10.1.1.2"))
POD = PodCgroup("u-1", 42)


def upserts(text: str) -> list[Change]:
    found = [item for document in split(text, False) for item in decode(document.value, "here")]
    return [Upsert(item) for item in found if isinstance(item, Object)]


class Source:
    """A source whose changes the test pushes."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[list[Change]] = asyncio.Queue()

    def send(self, *changes: Change) -> None:
        self._batches.put_nowait(list(changes))

    async def changes(self) -> AsyncIterator[list[Change]]:
        while True:
            yield await self._batches.get()


class FakeAds:
    """An Envoy that acknowledges everything, or nothing."""

    def __init__(self) -> None:
        self.envoys = [BLUE]
        self.acknowledges = self.published = False
        self.resources: dict[ResourceName, Json] = {}
        self.ports: dict[str, int] = {}
        self.rejected: dict[ResourceName, str] = {}

    async def publish(self, resources: Mapping[ResourceName, Json], ports: Mapping[str, int]) -> None:
        self.resources, self.ports, self.published = dict(resources), dict(ports), True

    def acknowledged_by(self, envoy: Envoy) -> frozenset[ResourceName]:
        return frozenset(self.resources if self.acknowledges else ())


class Node:
    """A datapath controller with everything around it. Envoy's listeners accept connections where `listens`."""

    def __init__(
        self,
        kernel: FakeKernel,
        audit_seconds: float = 60.0,
        errors: InternalErrors | None = None,
        own: Sequence[str] = (),
        configuration: int = CONFIGURATION_BYTES,
    ) -> None:
        """`configuration` is the capacity for Envoy's in bytes."""
        self.kernel = kernel
        self.ads = FakeAds()
        self.listens = self.refused = False
        self.silent: set[str] = set()
        self.deaf: set[tuple[str, int]] = set()
        self.tried: list[int] = []
        self.accepted: set[tuple[str, int]] = set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.drifts: list[int] = []
        self.revoked: list[ClientsRevoked] = []
        self.manifests, self.facts = Source(), Source()
        clock = asyncio.get_running_loop().time
        translator = Translator(Store(), Options("here"), errors=errors)
        self.detached = ["weft_connect4"]
        self.attachable, self.attempts = True, 0
        self.attached: list[tuple[str, int]] = []
        rendering = Rendering(Options("here"), errors, configuration)
        self.controller = DatapathController(
            ChangeQueue(translator, clock),
            rendering,
            Datapath(kernel, Config(), clock, own),
            self.ads,
            self,
            self,
            audit_seconds,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def accepts(self, address: str, port: int) -> bool | None:
        self.tried.append(port)
        await self.answers.wait()
        if self.refused:
            return None
        accepted = self.listens and address not in self.silent and (address, port) not in self.deaf
        if accepted:
            self.accepted.add((address, port))
        return accepted

    def attach(self) -> list[str] | None:
        self.attempts += 1
        if not self.attachable:
            return None
        names, self.detached = self.detached, []
        self.attached += [(name, len(self.kernel.frontends.rows)) for name in names]
        return names

    def backends_removed(self, frontends: list[BackendsRemoved]) -> None:
        pass

    def clients_revoked(self, clients: list[ClientsRevoked]) -> None:
        self.revoked += clients

    def applied(self, writes: int, seconds: float) -> None:
        assert seconds >= 0

    def drifted(self, rows: int) -> None:
        self.drifts.append(rows)

    async def start(self) -> None:
        follow = (
            self.controller.follow("manifests", self.manifests.changes()),
            self.controller.follow("node", self.facts.changes()),
        )
        self._tasks = [asyncio.create_task(item) for item in follow]
        await asyncio.sleep(0)
        self._tasks.append(asyncio.create_task(self.controller.run()))

    async def synced(self, text: str = TEXT) -> None:
        """Start the controllers, push all objects, and wait until they have synced."""
        await self.start()
        self.manifests.send(*upserts(text), Synced("manifests"))
        self.facts.send(Upsert(POD), Synced("node"))
        await self.until(lambda: self.controller.ready and self.ads.published)

    async def serving(self) -> None:
        """Wait until the kernel sends clients to the waypoint."""
        self.listens = self.ads.acknowledges = True
        self.wake()
        await self.until(lambda: self.action() == FrontendAction(Action.WAYPOINT))

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():
                for task in self._tasks:
                    assert not task.done(), task
                await asyncio.sleep(0.005)

    def wake(self) -> None:
        """Wake both loops: the state of the kernel or of an Envoy has changed."""
        self.controller.wake()
        self.controller.waypoint.wake()

    async def passes(self, act: Callable[[], object] = lambda: None) -> None:
        """Let the loop run more than one pass."""
        act()
        for _ in range(3):
            self.wake()
            await asyncio.sleep(0.04)

    async def kill(self) -> None:
        """Cancel the controllers. The kernel's rows stay. Cancels again if a task did not end."""
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1)
        self._tasks = []

    def action(self, client: Mode = Mode.L7) -> FrontendAction | None:
        found = self.kernel.reach(WEB, client)
        return found[0] if found else None
