"""Composition of the agent: it connects settings, source, kernel, Envoy and metrics, and makes no decisions."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from importlib import metadata
from typing import Any

from agent.datapath.datapath import Datapath
from agent.datapath.driver import BackendsRemoved
from agent.explain.cluster_reach import ClusterReach
from agent.explain.trace import RequestTracer
from agent.internal_errors import InternalErrors
from agent.ir.access_log import AccessLogEntry
from agent.ir.plan import PodPlan
from agent.ir.tables import host_port
from agent.ir.waypoint_state import ClientsRevoked
from agent.kernel import cgroups, features, links, maps
from agent.kernel.addresses import node_addresses, own_addresses
from agent.kernel.guards import Guards
from agent.kernel.loader import Prepared
from agent.kernel.netns.client import NetnsClient
from agent.kernel.pod_guards import PodGuards
from agent.kernel.sandboxes import Sandboxes
from agent.kernel.socket_terminator import SocketTerminator
from agent.kube.directory_source import SourceError
from agent.kube.errors import ConfigurationError
from agent.kube.source import Source
from agent.model.change import Change, Synced
from agent.node import budgets, encryption_proof, encryption_status, status
from agent.node.authorization_controller import AuthorizationController
from agent.node.authorization_status import with_authorization
from agent.node.change_queue import ChangeQueue
from agent.node.datapath_controller import DatapathController
from agent.node.encryption_controller import EncryptionController
from agent.node.last_parameters import LastParameters
from agent.node.metrics import register_controller, register_kernel, register_source
from agent.node.options import kernel_config, translation_options
from agent.node.reach import answer_reach
from agent.node.telemetry import Telemetry
from agent.node.waypoint_addresses import WaypointAddresses
from agent.node.weft_node_builder import WeftNodeBuilder
from agent.node.weft_node_writer import NodeWriter
from agent.settings import Settings
from agent.signals import EndedError, until_signalled
from agent.store.store import Store, TrackedView
from agent.telemetry.http import Handler, HttpServer, ListenError, Query, Response, listening_at
from agent.telemetry.metrics import Metrics
from agent.telemetry.name_index import LiveObjects
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
"""The errors of `open_source` and `Agent.serve` when the agent cannot run. Each message is one sentence."""


class Agent:
    """The parts of one agent, connected. `prepared` is what the loader pinned."""

    def __init__(self, settings: Settings, prepared: Prepared, source: Source, errors: InternalErrors) -> None:
        self._errors = errors
        self._settings = settings
        self._prepared = prepared
        self._source = source
        self._kernel = maps.open_kernel(settings.pins)
        self._metrics = Metrics(metadata.version("weft"), self._kernel.counters)
        addresses = settings.waypoint_addresses
        self._store = store = Store()
        self._waypoints = waypoints = WaypointAddresses(
            store, settings.node, lambda: self._ads.envoys, lambda: self.controller.datapath.waypoints, self._pods
        )
        self._ads = AdsServer(settings.xds_socket, addresses, self._record_requests, waypoints.pod_addresses, errors)
        self._dropped_log_entries = DroppedLogEntries(settings.xds_socket.parent)
        self._helper = helper = NetnsClient(settings.netns_socket)
        self._sandboxes = Sandboxes(settings.kubepods, helper, self._pods)
        able = prepared.has(features.SOCK_DESTROY)
        paths = settings.pins, settings.kubepods
        self._socket_terminator = SocketTerminator(*paths, settings.netns_socket, waypoints.addresses, able=able)
        self._guards = Guards(*paths, helper, waypoints.cgroups, self._metrics.drifted)
        self._authorization = self._make_authorization(settings)
        self._encryption = EncryptionController(store, settings, helper, self._pods, self._metrics.drifted)
        self.controller = self._make_controller(settings, store)
        self._drainer = WaypointDrainer(settings.xds_socket.parent, lambda: self.controller.machine.failover)
        self._audit = Audit(self._ads, settings.xds_socket.parent, settings.audit_seconds)
        self._telemetry = Telemetry(
            settings,
            self._kernel,
            self._live_objects,
            self._pods,
            lambda: self.controller.machine.ports,
            lambda namespace: is_logged(TrackedView(store), namespace),
            self._authorization.causes(encryption_status.Unreached(self._encryption)),
        )
        self._tracer = RequestTracer(self.controller.change_queue.outputs.values)
        self._node_writer = self._make_node_writer(settings.node, source)
        self._authorization.on_change(self._node_writer.touch)
        self._register_metrics()

    def _make_node_writer(self, node: str, source: Source) -> NodeWriter:
        parts = self._store, self._ads, self.controller, self._authorization
        builder = WeftNodeBuilder(node, *parts, self._encryption)
        write, spread = source.write_weft_node, lambda: builder.spread_seconds
        return NodeWriter(lambda: self._ads.envoys, builder.build, write, self._errors, spread)

    def _make_controller(self, settings: Settings, store: Store) -> DatapathController:
        clock = asyncio.get_running_loop().time
        parameters = LastParameters(store, settings.parameters_file)
        translator = Translator(store, translation_options(settings), errors=self._errors, clock=time.thread_time)
        changes = ChangeQueue(translator, clock, self._authorization.desired, parameters)
        rendering = Rendering(translation_options(settings), self._errors)
        datapath = Datapath(self._kernel, kernel_config(settings, self._kernel.cpus), clock, own_addresses())
        seconds = settings.audit_seconds
        return DatapathController(changes, rendering, datapath, self._ads, self, self._metrics, seconds)

    def _make_authorization(self, settings: Settings) -> AuthorizationController:
        drifted, revoke, seconds = self._metrics.drifted, self._socket_terminator.revoke, settings.audit_seconds
        guards = PodGuards(settings.pins, settings.kubepods, self._helper, self._prepared.version, drifted)
        return AuthorizationController(self._kernel, guards, self._source, node_addresses, revoke, drifted, seconds)

    def _register_metrics(self) -> None:
        """Register the metrics whose values are read at each scrape."""
        metrics, controller, ads, flows = self._metrics, self.controller, self._ads, self._telemetry.flows
        metrics.register_flows(flows.read, flows.refresh)
        metrics.register_requests(self._telemetry.requests)
        metrics.register_table_usage(lambda: controller.datapath.fill | self._authorization.fill | flows.fill)
        register_controller(metrics, controller, self._authorization, self._telemetry.request_counts.audited)
        register_source(metrics, self._source)
        encryption_status.register_encryption(metrics, self._encryption)
        metrics.register_internal_errors(self._errors.counts)
        register_kernel(metrics, self._prepared.missing, self._socket_terminator, self._helper)
        metrics.register_xds(ads, lambda: status.rejected_kinds(ads.rejected), lambda: self._audit.total)
        metrics.register_counters("weft_node_writes", "Writes of the WeftNode.", "outcome", self._node_writer.outcomes)
        text = "Requests missing from the access log, by who dropped them."
        metrics.register_counters("weft_access_log_dropped", text, "by", self._dropped_requests)

    def _dropped_requests(self) -> dict[str, int]:
        """Requests that Envoys could not send in time, and lines that standard output did not take in time."""
        return {"waypoint": self._dropped_log_entries.total, "agent": self._telemetry.access_log.dropped}

    async def serve(self) -> None:
        """Run all parts until one of them ends or a signal arrives; then stop all of them."""
        self._ads.on_change(self._envoys_changed)
        public, private, health = (HttpServer(routes) for routes in (self._public(), self._private(), self._health()))
        try:
            await self._listen(public, private, health)
            await until_signalled(
                self.controller.follow(self._source.name, self._source.changes()),
                self.controller.follow("cgroups", self._cgroups()),
                self.controller.follow("sandboxes", self._sandboxes.changes()),
                self._socket_terminator.run(),
                self._guards.run(),
                self._authorization.run(),
                self._encryption.run(lambda: self.controller.synced, self._node_writer.touch),
                self._dropped_log_entries.run(),
                self._telemetry.request_counter.run(lambda: self.controller.ready),
                self._drainer.run(),
                self._audit.run(),
                self.controller.run(),
                self._telemetry.run(lambda: self.controller.ready),
                self._node_writer.run(),
            )
            log.info("stopped; the datapath stays as it is", extra={"pid": os.getpid()})
        finally:
            await self._ads.stop()
            for server in (public, private, health):
                await server.stop()

    async def _listen(self, public: HttpServer, private: HttpServer, health: HttpServer) -> None:
        """Listen on every address of the agent. Raises `ListenError`, which names the address that cannot be used."""
        settings = self._settings
        address = f"--metrics {host_port(settings.metrics_host, settings.metrics_port)}"
        with listening_at(str(settings.xds_socket)):
            await self._ads.start()
        with listening_at(address):
            await public.start_tcp(settings.metrics_host, settings.metrics_port)
        for server, socket in ((private, settings.status_socket), (health, settings.health_socket)):
            with listening_at(str(socket)):
                await server.start_unix(socket)

    async def _cgroups(self) -> AsyncIterator[list[Change]]:
        """The pods' cgroups: first all that exist, then changes. Only pods of later changes are checked for a sandbox
        address.
        """
        watch = cgroups.watch_pod_cgroups(self._settings.kubepods)
        yield [*await anext(watch), Synced("cgroups")]
        async for batch in watch:
            yield [*batch]
            self._sandboxes.expect(batch)

    def _envoys_changed(self) -> None:
        """An Envoy connected, disconnected, or answered a response."""
        self.controller.waypoint.wake()
        self._node_writer.touch()

    def _record_requests(self, served: list[AccessLogEntry]) -> None:
        """Take the requests that the waypoint reports in its access log."""
        self._telemetry.request_log.record(served)
        self._tracer.take(served)

    def _pods(self) -> Mapping[int, PodPlan]:
        """The desired pods, by cgroup id."""
        return self.controller.datapath.desired_pods

    def _live_objects(self) -> LiveObjects:
        """The pods and Services that exist now."""
        return self._pods(), {plan.service for plan in self.controller.datapath.desired.values()}

    def attach(self) -> list[str] | None:
        """Attach the programs, and guard waypoints from then on.

        Returns the names of those that were not attached, or None while there is no kubepods cgroup.
        """
        self._guards.permit(self._prepared.version)
        self._authorization.start()
        return links.ensure(self._settings.pins, self._settings.kubepods, self._prepared.version)

    def backends_removed(self, frontends: list[BackendsRemoved]) -> None:
        """Terminate sockets that are connected to removed backends."""
        self._socket_terminator.submit(frontends)

    def clients_revoked(self, clients: list[ClientsRevoked]) -> None:
        """Terminate connections to waypoints whose clients are not admitted any more."""
        self._socket_terminator.revoke_clients(clients, self._waypoints.pods())

    async def accepts(self, address: str, port: int) -> bool | None:
        """Whether a waypoint accepts connections on a port. None when that is not known yet."""
        return await accepts(address, port)

    def _public(self) -> dict[str, Handler]:
        """What the metrics port serves, to every client that can reach it."""
        return {"/metrics": self._metrics_answer, **self._health()}

    async def _metrics_answer(self, _: Query) -> Response:
        await self._telemetry.request_counter.refresh()
        return Response.metrics(await self._metrics.rendered())

    def _health(self) -> dict[str, Callable[[Query], Response]]:
        """What the kubelet's probes request."""
        return {"/healthz": lambda _: Response.text("ok\n"), "/readyz": lambda _: self._readiness()}

    def _readiness(self) -> Response:
        """Ready: the kernel has everything that the agent knows, and the source is not stale."""
        if not self.controller.ready:
            return Response.text("not ready\n", 503)
        stale = self._source.stale
        return Response.text(f"stale: {stale}\n", 503) if stale else Response.text("ready\n")

    def _private(self) -> dict[str, Handler]:
        """What the status socket serves, to root on this node only."""
        return {
            "/status": lambda _: self._status(),
            "/request": self._tracer.answer,
            "/reach": partial(answer_reach, ClusterReach(self._store, translation_options(self._settings))),
            "/budgets": lambda _: Response.json(budgets.document(self.controller, self._authorization.tables)),
            "/encryption-proof": encryption_proof.EncryptionProof(self._encryption, self._helper, self._pods).answer,
            **self._telemetry.routes(),
        }

    async def _status(self) -> Response:
        """The document of `weft status`. A thread makes it of copies: thousands of frontends take half a second."""
        datapath, document = self.controller.datapath, self._document()
        desired, installed = dict(datapath.desired), dict(datapath.installed)
        return await asyncio.to_thread(
            lambda: Response.json(status.with_frontends(document, desired, installed, self._errors))
        )

    def _document(self) -> dict[str, Any]:
        """The document without the frontends."""
        envoys = status.Envoys(
            self._ads.rejected, self._audit.found, status.draining(self._drainer.statuses), self._guards.states
        )
        found = status.status(self.controller, self._settings.node, envoys, self._errors)
        found["reconciling"] |= self._socket_terminator.revoking
        return with_authorization(found, self._authorization, TrackedView(self._store)) | {
            "source": self._source.status(),
            "encryption": encryption_status.encryption_document(self._encryption, time.time()),
            "kernel": features.document(self._prepared.missing),
            "netnsHelper": {"error": self._helper.error, "podsWithoutAddress": len(self._sandboxes.awaited)},
        }
