"""Composition: settings in, a running agent out. Nothing here decides anything."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Any

from agent.datapath.datapath import Datapath
from agent.datapath.driver import BackendsRemoved
from agent.explain.trace import RequestTracer
from agent.internal_errors import InternalErrors
from agent.ir.access_log import Exchange
from agent.ir.tables import host_port
from agent.kernel import cgroups, features, links, maps
from agent.kernel.guards import Guards
from agent.kernel.loader import Prepared
from agent.kernel.sandboxes import Sandboxes, own_addresses
from agent.kernel.socket_terminator import SocketTerminator
from agent.kube.directory_source import SourceError
from agent.kube.errors import ConfigurationError
from agent.kube.source import Source
from agent.model.change import Change, Synced
from agent.model.core import Node
from agent.model.weft_node import WeftNode
from agent.node import loop_metrics, status
from agent.node.loop import Core
from agent.node.options import kernel_config, translation_options
from agent.node.telemetry import Telemetry
from agent.node.weft_node import weft_node
from agent.node.weft_node_writer import NodeWriter
from agent.settings import Settings
from agent.signals import EndedError, until_signalled
from agent.store.store import Store, TrackedView
from agent.telemetry.http import HttpServer, ListenError, Query, Response, Route, listening_at
from agent.telemetry.metrics import Metrics
from agent.telemetry.names import Known
from agent.translate.enrolment import WAYPOINT, addresses_of_own, is_own
from agent.translate.incremental import Translator
from agent.translate.labels import is_logged
from agent.waypoint.audit import Audit
from agent.waypoint.drainer import WaypointDrainer
from agent.waypoint.dropped_log_entries import DroppedLogEntries
from agent.waypoint.probe import accepts
from agent.waypoint.rendering import Rendering
from agent.waypoint.server import AdsServer

log = logging.getLogger(__name__)

START_ERRORS = (SourceError, ConfigurationError, ListenError, EndedError)
"""What `open_source` and `Agent.serve` raise when the agent cannot work, in a sentence."""


class Agent:
    """One agent's parts, wired together. `prepared` is what the loader pinned."""

    def __init__(self, settings: Settings, prepared: Prepared, source: Source, errors: InternalErrors) -> None:
        self._errors = errors
        self._settings = settings
        self._prepared = prepared
        self._source = source
        self._kernel = maps.open_kernel(settings.pins)
        self._metrics = Metrics(metadata.version("weft"), self._kernel.counters)
        addresses = settings.waypoint_addresses
        self._ads = AdsServer(settings.xds_socket, addresses, self._take, self._waypoint_pods, errors)
        self._dropped = DroppedLogEntries(settings.xds_socket.parent)
        self._store = store = Store()
        self._sandboxes = Sandboxes(settings.kubepods, pods=lambda: self.core.datapath.desired_pods)
        able = prepared.has(features.SOCK_DESTROY)
        self._socket_terminator = SocketTerminator(settings.pins, settings.kubepods, self._waypoints, able=able)
        self._guards = Guards(settings.pins, settings.kubepods, self._places, self._metrics.drifted)
        self.core = self._make_core(settings, store)
        self._drainer = WaypointDrainer(settings.xds_socket.parent, lambda: self.core.machine.failover)
        self._audit = Audit(self._ads, settings.xds_socket.parent, settings.audit_seconds)
        self._telemetry = Telemetry(
            self._kernel,
            self._known,
            lambda: self.core.datapath.desired_pods,
            lambda: self.core.machine.ports,
            lambda namespace: is_logged(TrackedView(store), namespace),
        )
        self._tracer = RequestTracer(self.core.intake.fragments.values)
        self._node_writer = NodeWriter(lambda: self._ads.envoys, self._weft_node, source.store, errors)
        self._show()

    def _make_core(self, settings: Settings, store: Store) -> Core:
        clock = asyncio.get_running_loop().time
        config = kernel_config(settings, self._kernel.cpus)
        return Core(
            Translator(store, translation_options(settings), errors=self._errors),
            Rendering(translation_options(settings), self._errors),
            Datapath(self._kernel, config, clock, own_addresses()),
            self._ads,
            self,
            self._metrics,
            settings.audit_seconds,
        )

    def _show(self) -> None:
        """Numbers that are read when somebody asks for metrics."""
        core, ads = self.core, self._ads
        flows = self._telemetry.flows
        self._metrics.show_flows(flows.read, flows.refresh)
        self._metrics.show_requests(self._telemetry.requests)
        self._metrics.show_fill(lambda: core.datapath.fill | flows.fill)
        loop_metrics.show(self._metrics, core)
        self._metrics.show_numbers(
            "weft_source_unread",
            "Documents of kinds that weft does not read.",
            "kind",
            lambda: self._source.report().get("unread", {}),
        )
        self._metrics.show_internal_errors(self._errors.counts)
        self._metrics.show_numbers(
            "weft_kernel_feature",
            "Whether the kernel has a feature that weft can do without.",
            "feature",
            lambda: features.presence(self._prepared.missing),
        )
        self._metrics.show_counts(
            "weft_sockets_ended",
            "Connected sockets ended because their backend left.",
            "protocol",
            self._socket_terminator.counts,
        )
        self._metrics.show("weft_source_stale", "Whether what is known may be old.", lambda: bool(self._source.stale))
        self._metrics.show_discovery(ads, lambda: status.rejected_kinds(ads.rejected), lambda: self._audit.total)
        self._metrics.show_counts("weft_node_writes", "Writes of the WeftNode.", "outcome", self._node_writer.outcomes)
        self._metrics.show_counts(
            "weft_access_log_lost", "Requests that are not counted (waypoint) or not written (agent).", "by", self._lost
        )

    def _lost(self) -> dict[str, int]:
        """What was too much for the agent, and for whoever reads its output."""
        return {"waypoint": self._dropped.total, "agent": self._telemetry.lines.lost}

    async def serve(self) -> None:
        """Start everything, and end all of it when one part ends or a signal comes."""
        self._ads.on_change(self._envoys_changed)
        public, private, health = (HttpServer(routes) for routes in (self._public(), self._private(), self._health()))
        try:
            await self._listen(public, private, health)
            await until_signalled(
                self.core.follow(self._source.name, self._source.changes()),
                self.core.follow("cgroups", self._cgroups()),
                self.core.follow("sandboxes", self._sandboxes.changes()),
                self._socket_terminator.run(),
                self._guards.run(),
                self._dropped.run(),
                self._drainer.run(),
                self._audit.run(),
                self.core.run(),
                self._telemetry.run(lambda: self.core.ready),
                self._node_writer.run(),
            )
            log.info("stopped; the datapath stays as it is", extra={"pid": os.getpid()})
        finally:
            await self._ads.stop()
            for server in (public, private, health):
                await server.stop()

    async def _listen(self, public: HttpServer, private: HttpServer, health: HttpServer) -> None:
        """Take every address that the agent answers at. Raises `ListenError` with the one that it cannot have."""
        settings = self._settings
        place = f"--metrics {host_port(settings.metrics_host, settings.metrics_port)}"
        with listening_at(str(settings.xds_socket)):
            await self._ads.start()
        with listening_at(place):
            await public.start_tcp(settings.metrics_host, settings.metrics_port)
        for server, socket in ((private, settings.status_socket), (health, settings.health_socket)):
            with listening_at(str(socket)):
                await server.start_unix(socket)

    async def _cgroups(self) -> AsyncIterator[list[Change]]:
        """Pod cgroups; their first batch is all there is. Sandboxes are looked at of those that come after it."""
        watch = cgroups.watch_pod_cgroups(self._settings.kubepods)
        yield [*await anext(watch), Synced("cgroups")]
        async for batch in watch:
            yield [*batch]
            self._sandboxes.expect(batch)

    def _envoys_changed(self) -> None:
        """An Envoy came, went, or answered."""
        self.core.waypoint.wake()
        self._node_writer.touch()

    async def _weft_node(self) -> WeftNode | None:
        """What this node reports to the cluster; None until every source has given all it has."""
        if not self.core.synced:
            return None
        rejected, name = self._ads.rejected, self._settings.node
        fragments = list(self.core.intake.fragments.values()) if rejected else []
        node, needs = TrackedView(self._store).get(Node, "", name), self.core.rendering.dependencies
        return await asyncio.to_thread(weft_node, name, node.metadata.uid if node else "", fragments, needs, rejected)

    def _take(self, served: list[Exchange]) -> None:
        """Requests that the waypoint tells of."""
        self._telemetry.served.take(served)
        self._tracer.take(served)

    def _known(self) -> Known:
        """The pods and Services that there are."""
        datapath = self.core.datapath
        return datapath.desired_pods, {plan.service for plan in datapath.desired.values()}

    def _draining(self) -> list[dict[str, Any]]:
        """Envoys that others took over from, with how many are connected to them still."""
        return [
            {
                "id": envoy.id,
                "addresses": list(envoy.addresses),
                "connections": drain.connections,
                "drained": drain.drained,
            }
            for envoy, drain in self._drainer.statuses.items()
        ]

    def _waypoint_pods(self) -> list[str]:
        """Where the pods of this node's waypoints are, as far as they are known."""
        return addresses_of_own(TrackedView(self._store), WAYPOINT, self._settings.node)

    def _waypoints(self) -> list[str]:
        """Where the node's Envoys are, those on their way in or out too."""
        return list(self.core.datapath.waypoints)

    def _places(self) -> dict[str, dict[int, frozenset[str]]]:
        """The addresses of the node's Envoys, each with those of weft's own pods that have it."""
        connected = (address for envoy in self._ads.envoys for address in envoy.addresses)
        addresses = {*self._waypoints(), *connected}
        own = [(cgroup, pod) for cgroup, pod in self.core.datapath.desired_pods.items() if is_own(pod)]
        return {
            address: {cgroup: frozenset(pod.addresses) for cgroup, pod in own if address in pod.addresses}
            for address in addresses
        }

    def attach(self) -> list[str] | None:
        """Have the programs run; the names of those that did not, None while there is no kubepods cgroup.

        Waypoints are guarded from then on.
        """
        self._guards.permit(self._prepared.version)
        return links.ensure(self._settings.pins, self._settings.kubepods, self._prepared.version)

    def backends_removed(self, frontends: list[BackendsRemoved]) -> None:
        """Have the sockets of frontends that lost backends looked after."""
        self._socket_terminator.submit(frontends)

    async def accepts(self, address: str, port: int) -> bool | None:
        """Whether a waypoint takes connections on a port; None when that cannot be told yet."""
        return await accepts(address, port)

    def _public(self) -> dict[str, Route]:
        """What anybody who can reach the port may ask."""
        return {"/metrics": self._metrics_answer, **self._health()}

    async def _metrics_answer(self, _: Query) -> Response:
        return Response.metrics(await self._metrics.rendered())

    def _health(self) -> dict[str, Callable[[Query], Response]]:
        """What the kubelet's probes ask."""
        return {"/healthz": lambda _: Response.text("ok\n"), "/readyz": lambda _: self._readiness()}

    def _readiness(self) -> Response:
        """Ready: the kernel is as it should be by what is known, and what is known is not old."""
        if not self.core.ready:
            return Response.text("not ready\n", 503)
        stale = self._source.stale
        return Response.text(f"stale: {stale}\n", 503) if stale else Response.text("ready\n")

    def _private(self) -> dict[str, Route]:
        """What only root on this node may ask."""
        return {
            "/status": lambda _: self._status(),
            "/request": self._tracer.answer,
            **self._telemetry.routes(),
        }

    async def _status(self) -> Response:
        """What `weft status` shows. To tell of thousands of frontends takes half a second: of copies, in a thread."""
        datapath, document = self.core.datapath, self._document()
        desired, installed = dict(datapath.desired), dict(datapath.installed)
        return await asyncio.to_thread(
            lambda: Response.json(status.completed(document, desired, installed, self._errors))
        )

    def _document(self) -> dict[str, Any]:
        """All of it but the frontends."""
        settings = self._settings
        envoys = status.Envoys(self._ads.rejected, self._audit.found, self._draining(), self._guards.states)
        found = status.status(self.core, settings.node, envoys, self._errors)
        return found | {"source": self._source.report(), "kernel": features.document(self._prepared.missing)}
