"""Composition of the controller: an agent's source and translation, and writers of statuses."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any

from agent.certificates.rotation import DEFAULT_LIVES, Lives
from agent.controller.authority_keeper import AuthorityKeeper
from agent.controller.certificate_requests import KIND as CERTIFICATE_REQUEST
from agent.controller.certificate_requests import request_collection
from agent.controller.election import Election
from agent.controller.node_reports import NodeReports, report_collection
from agent.controller.signer import Signer
from agent.controller.status_store import StatusStore
from agent.controller.stored import MESH, controller_collections
from agent.controller.taint import KINDS, TaintStore, taint_collections
from agent.controller.writer import Writer
from agent.ir.tables import host_port
from agent.kube.client import ApiServer
from agent.kube.kubernetes_source import KubernetesSource
from agent.model.change import Change, Delete, Problem, Resolved, Synced, Upsert, subject_of
from agent.model.meta import Key
from agent.model.parameters import MeshParametersSpec
from agent.model.weft_node import KIND
from agent.settings import ControllerSettings
from agent.signals import until_signalled
from agent.store.store import Store, TrackedView
from agent.telemetry.controller_metrics import ControllerMetrics
from agent.telemetry.http import HttpServer, Query, Response, listening_at
from agent.telemetry.internal_errors import logged_errors
from agent.translate.incremental import STATUS_KINDS, Translator
from agent.translate.options import Options
from agent.translate.parameters import BUILT_IN, mesh_parameters

log = logging.getLogger(__name__)

# Many nodes report at about the same time, shortly after a Route's change. Every agent watches Routes, so reports are
# written at once, and then at most once in this interval.
DEBOUNCE_SECONDS = 0.1
MIN_WRITE_INTERVAL_SECONDS = 5.0
# The CRD may be installed later, and an XMesh may be deleted.
MESH_SECONDS = 5.0


async def run(settings: ControllerSettings) -> None:
    """Run the controller until SIGTERM or SIGINT. Raises `ConfigurationError`, `ListenError`, `EndedError`."""
    async with ApiServer(settings.kubeconfig, f"weft-controller/{version('weft')}") as api:
        await Controller(api, settings).serve()
    log.info("stopped")


class Controller:
    """One replica. All replicas watch and translate; only the leader writes."""

    def __init__(self, api: ApiServer, settings: ControllerSettings, lives: Lives = DEFAULT_LIVES) -> None:
        self._settings = settings
        nodes = taint_collections() if settings.startup_taint else ()
        self._errors = logged_errors()
        requests = (request_collection(),) if settings.certificates else ()
        followed = (*controller_collections(), report_collection(), *nodes, *requests)
        self.source = KubernetesSource(api, followed, self._errors)
        self.reports = NodeReports()
        store = Store()

        def parameters() -> MeshParametersSpec | None:
            found = mesh_parameters(TrackedView(store))
            return None if found is BUILT_IN else found.spec

        self.statuses = StatusStore(settings.mesh, self.reports, lambda: (parameters() or BUILT_IN.spec).encryption)
        self.taints = TaintStore()
        self.election = Election(api, settings.namespace, settings.lease, settings.identity, self._leadership_changed)
        self.metrics = ControllerMetrics(version("weft"), lambda: self.election.leads, lambda: self.source.stale)
        self.metrics.register_internal_errors(self._errors.counts)
        self.writer = Writer(api, self.statuses, self._may_write, self.metrics.wrote, self._errors)
        self.taint_writer = Writer(api, self.taints, self._may_write, self.metrics.wrote, self._errors)
        self.authorities = AuthorityKeeper(api, settings.namespace, self._may_write, parameters, lives)
        self.signer = Signer(
            api,
            settings.namespace,
            self.authorities,
            self._may_write,
            self.metrics.decided,
            self._errors,
        )
        if settings.certificates:
            self.metrics.register_certificates(lambda: self.signer.waiting, lambda: self.authorities.end)
        self._translator = Translator(store, Options(), STATUS_KINDS, self._errors)
        self._problems: set[str] = set()
        self._foreign_owner = ""
        self._ancestor = self.statuses.ancestor
        # Routes and policies to write because of reports.
        self.reported: set[Key] = set()
        self._reports_changed = asyncio.Event()
        self.synced = False

    async def serve(self) -> None:
        """Run all parts until one of them ends or a signal arrives; then stop all of them."""
        server, health = HttpServer(self._public()), HttpServer(self._health())
        host, port = self._settings.metrics_host, self._settings.metrics_port
        with listening_at(f"--metrics {host_port(host, port)}"):
            await server.start_tcp(host, port)
        if self._settings.health_socket is not None:
            await health.start_unix(self._settings.health_socket)
        try:
            await until_signalled(*self.parts())
        finally:
            await server.stop()
            await health.stop()

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """The coroutines to run."""
        writers = self.writer.run(), self.taint_writer.run()
        certificates: tuple[Coroutine[Any, Any, None], ...] = ()
        if self._settings.certificates:
            certificates = self.signer.run(), self.authorities.run(self.signer.touch_all)
        return (
            self.follow(),
            self.election.run(),
            *writers,
            self.reconcile_mesh(),
            self.write_reported(),
            *certificates,
        )

    async def follow(self) -> None:
        """Process the source's changes, and queue the objects that have to be written."""
        async for batch in self.source.changes():
            self._record_problems(batch)
            touched = self._update_store(self.statuses, batch)
            nodes = self._update_store(self.taints, batch)
            self._update_reports(batch)
            self._update_requests(batch)
            plain = [change for change in batch if _is_for_translation(change)]
            touched |= self._observe_policies(batch)
            touched |= self.statuses.set_desired(list(self._translator.update(plain).values()))
            if not self.synced and any(isinstance(change, Synced) for change in batch):
                self.synced = True
                log.info("synced", extra={"objects": len(self.statuses.targets)})
                touched |= self.statuses.targets
                nodes |= self.taints.targets
                self.authorities.wake()
            self.writer.touch(touched)
            self.taint_writer.touch(nodes)

    def _update_store(self, statuses: StatusStore | TaintStore, batch: list[Change]) -> set[Key]:
        """Pass a batch to a store; returns the objects that may have to be written."""
        touched: set[Key] = set()
        for change in batch:
            with self._errors.guard("statuses", subject_of(change)):
                target = statuses.update(change)
                if target is not None:
                    touched.add(target)
        return touched

    def _observe_policies(self, batch: list[Change]) -> set[Key]:
        """Pass changes of policies to the reports; returns those that may have to be written."""
        touched: set[Key] = set()
        for change in batch:
            with self._errors.guard("statuses", subject_of(change)):
                touched |= self.reports.policies.observe(change)
        return touched

    def _update_reports(self, batch: list[Change]) -> None:
        """Apply the changes of WeftNodes."""
        for change in batch:
            with self._errors.guard("statuses", subject_of(change)):
                # A compromised agent can name any number of Routes and policies that do not exist.
                self.reported |= {found for found in self.reports.update(change) if self.statuses.path(found)}
        if self.reported:
            self._reports_changed.set()

    def _update_requests(self, batch: list[Change]) -> None:
        """Apply the changes of CertificateSigningRequests."""
        for change in batch:
            with self._errors.guard("certificate", subject_of(change)):
                self.signer.update(change)

    async def write_reported(self) -> None:
        """Queue the Routes and policies that nodes report on."""
        while True:
            await self._reports_changed.wait()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self._reports_changed.clear()
            touched, self.reported = self.reported, set()
            self.writer.touch(touched)
            await asyncio.sleep(MIN_WRITE_INTERVAL_SECONDS)

    async def reconcile_mesh(self) -> None:
        """Create and update the XMesh, if the cluster has the kind."""
        while True:
            self.statuses.meshes_known = self.synced and self.source.has_listed(MESH)
            owner = self.statuses.foreign_owner()
            if owner and owner != self._foreign_owner:
                log.warning(
                    "the XMesh belongs to another controller, it is not written",
                    extra={"mesh": self._settings.mesh, "controller": owner},
                )
            self._foreign_owner = owner
            if self.synced and (ancestor := self.statuses.ancestor) != self._ancestor:
                self._ancestor = ancestor
                self.writer.touch(self.statuses.policies)
            self.writer.touch([self.statuses.own_mesh])
            await asyncio.sleep(MESH_SECONDS)

    def _leadership_changed(self) -> None:
        """Queue all objects: the former leader may have missed changes."""
        self.writer.touch(self.statuses.targets)
        self.taint_writer.touch(self.taints.targets)
        self.authorities.wake()

    def _may_write(self) -> bool:
        return self.synced and self.election.leads

    def _record_problems(self, batch: list[Change]) -> None:
        """Count and log objects that cannot be decoded. Translation also writes a Route's problem to its status."""
        for change in batch:
            if isinstance(change, Problem):
                log.warning("object not used", extra={"problem": str(change)})
                self._problems.add(change.where)
            elif isinstance(change, Resolved):
                self._problems.discard(change.where)
        self.metrics.problems(len(self._problems))

    def _public(self) -> dict[str, Callable[[Query], Response]]:
        return {"/metrics": lambda _: Response.text(self.metrics.render()), **self._health()}

    def _health(self) -> dict[str, Callable[[Query], Response]]:
        return {"/healthz": lambda _: Response.text("ok\n"), "/readyz": lambda _: self._readiness()}

    def _readiness(self) -> Response:
        stale = self.source.stale
        if self.synced and not stale:
            return Response.text("ready\n")
        return Response.text(f"stale: {stale}\n" if stale else "not synced\n", 503)


def _is_for_translation(change: Change) -> bool:
    """Whether translation needs the change, and not only the store of statuses or taints."""
    if not isinstance(change, Upsert | Delete):
        return True
    kind = (change.value.key if isinstance(change, Upsert) else change.key).kind
    return kind not in (*KINDS, KIND, CERTIFICATE_REQUEST) and not kind.startswith("Stored")
