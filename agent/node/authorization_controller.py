"""Keeps the kernel in step with policies: its tables, and the guards in the network namespaces of protected pods.

A task of its own. A pod that starts has its guard before its first container runs, whatever a pass over thousands of
Services still has to do.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from agent.datapath.audited import Audited
from agent.datapath.authorization import Authorization
from agent.datapath.desired_authorization import DesiredAuthorization
from agent.datapath.destinations import Destinations
from agent.datapath.driver import AuthorizationTables
from agent.datapath.verdicts import Verdicts
from agent.ir.authorization import ServerPlan, UnsupportedPod
from agent.ir.policy import ServiceAccount
from agent.model.meta import Key
from agent.telemetry.event_buffer import Causes

log = logging.getLogger(__name__)

# How often guards are looked at when nothing changes: others may have removed one.
LOOK_SECONDS = 0.5
# How long guards of an earlier agent stay as they are while clients are not all known: the policies that they enforce
# are the former ones.
CLIENTS_SECONDS = 30.0

Servers = Mapping[int, ServerPlan]


@dataclass(frozen=True, slots=True)
class Enforced:
    """What the kernel has since the last step that was complete: the policies known then, by their digest, and the
    pods that they select.
    """

    observed: str
    servers: Servers
    unsupported: Mapping[int, UnsupportedPod]


class Guards(Protocol):
    """The programs of policies in pods."""

    @property
    def states(self) -> Mapping[int, str]:
        """By cgroup id: the state of the guard of each protected pod."""

    @property
    def audit_states(self) -> Mapping[int, str]:
        """The same of the pods at which policies are audited."""

    def look(self, servers: Servers, complete: bool, audited: Servers) -> None:
        """Attach the guards of these pods that are missing, and detach all others; the same for the pods at which
        policies are audited. `complete`: the tables have all clients; until then guards of an earlier agent stay as
        they are. Raises `OSError`.
        """


class Clients(Protocol):
    """Where the addresses of pods of other nodes come from."""

    def want_accounts(self, accounts: frozenset[ServiceAccount]) -> None:
        """Replace the accounts whose pods have to be known."""

    @property
    def accounts_listed(self) -> bool:
        """Whether all pods of the accounts that are wanted are known."""


class AuthorizationController:
    """Writes what is desired, attaches guards, and says whose addresses have to be known."""

    def __init__(
        self,
        tables: AuthorizationTables,
        guards: Guards,
        clients: Clients,
        node_addresses: Callable[[], Iterable[str]],
        revoke: Callable[[], None],
        drifted: Callable[[int], None],
        audit_seconds: float,
    ) -> None:
        """`node_addresses` returns the addresses from which the kubelet probes. `revoke` ends connections of clients
        that are not admitted any more. `drifted` gets the number of rows that others changed, which are repaired.
        """
        self._wake, self._started = asyncio.Event(), asyncio.Event()
        self._changed: Callable[[], None] = lambda: None
        self.desired = DesiredAuthorization(self._take)
        self.tables = Authorization(tables)
        self.audited = Audited(tables)
        self.destinations = Destinations(tables)
        self.verdicts = Verdicts(tables.verdicts)
        self.guards = guards
        self._clients = clients
        self._node_addresses = node_addresses
        self._revoke = revoke
        self._drifted = drifted
        self._audit_seconds = audit_seconds
        self._clock = asyncio.get_running_loop().time
        self._in_pass = self._resync_needed = self._revoked = self._dirty = False
        self._accounts: frozenset[ServiceAccount] = frozenset()
        self._audited: Servers | None = None
        self._patient_until = 0.0
        self.enforced: Enforced | None = None

    def on_change(self, changed: Callable[[], None]) -> None:
        """Set what is called when what is desired changed."""
        self._changed = changed

    def _take(self) -> None:
        self._wake.set()
        self._changed()

    @property
    def fill(self) -> dict[str, tuple[int, int]]:
        """Per table: rows in use and capacity."""
        return self.tables.fill | self.audited.fill | self.destinations.fill

    @property
    def rejected(self) -> Mapping[str, str]:
        """What does not fit into the tables, with the reason; of a pod by `policies of POD`."""
        return self.tables.rejected

    @property
    def destination_policies(self) -> set[Key]:
        """Those that a refusal at the client's end can name."""
        return {it.policy for it in self.desired.destinations.values()}

    def causes(self, lacks_tunnel: Callable[[str], bool]) -> Causes:
        """What can be behind refusals and failures; `lacks_tunnel` is not about policies."""
        return Causes(lambda: self.destination_policies, lacks_tunnel, self.verdicts.audited_at)

    @property
    def reconciling(self) -> bool:
        """Whether changes are on their way to the kernel."""
        return self._started.is_set() and (self._in_pass or self._wake.is_set())

    def start(self) -> None:
        """Every policy and pod is known, and the programs are loaded. Until then nothing is changed: a pod whose policy
        has not been read would seem to have none.
        """
        self._started.set()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._started.wait()
        self._resync_needed = True
        inherited, audit_at = False, self._clock() + self._audit_seconds
        self._patient_until = self._clock() + CLIENTS_SECONDS
        self._wake.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            self._in_pass = True
            self._dirty |= self._wake.is_set()
            self._wake.clear()
            try:
                if not inherited:
                    self.tables.inherit()
                    self.audited.adopt()
                    self.destinations.adopt()
                    inherited, self._resync_needed = True, False
                if self._clock() >= audit_at:
                    audit_at = self._clock() + self._audit_seconds
                    await self._audit()
                await self._step()
            except OSError as error:
                log.warning("authorization not written, trying again", extra={"error": str(error)})
                self._resync_needed = True
            finally:
                self._in_pass = False

    async def _step(self) -> None:
        """Write the tables, look at the guards, and remove the rows of addresses that have no guard any more."""
        if self._resync_needed:
            self.tables.adopt()
            self.audited.adopt()
            self.destinations.adopt()
            self._resync_needed, self._dirty, self._audited = False, True, None
        servers, audited = dict(self.desired.servers), dict(self.desired.audited)
        enforced = Enforced(self.desired.versions.digest, servers, dict(self.desired.unsupported))
        self._want_accounts((*servers.values(), *audited.values()))
        complete = self._clients.accounts_listed
        if complete:
            self._dirty |= self.tables.forget_inherited()
        self._dirty |= self.tables.want_node(self._node_addresses() if servers or audited else ())
        # Thousands of peers are compared only when something changed.
        if self._dirty:
            # What was counted until now belongs to the policies until now.
            self.verdicts.want(servers, audited)
            self._revoked |= self.tables.write(self.desired)
            self.destinations.write(self.desired.destinations, self.desired.identities)
            self._dirty = False
        if complete and audited != self._audited:
            # Not before: a client that is not known yet would count as refused.
            self.audited.write(audited)
            self._audited = audited
        listed, complete = complete, complete or self._clock() >= self._patient_until
        await asyncio.to_thread(self.guards.look, servers, complete, audited)
        if self._revoked:
            # Only now no client connects that is not admitted.
            self._revoke()
            self._revoked = False
        # Pods may have been added meanwhile.
        self.tables.release(_addresses(servers.values()) | _addresses(self.desired.servers.values()))
        if listed and enforced != self.enforced:
            self.enforced = enforced
            self._changed()

    def _want_accounts(self, servers: Iterable[ServerPlan]) -> None:
        accounts = frozenset(source for plan in servers for source in plan.sources)
        if accounts != self._accounts:
            self._accounts = accounts
            self._clients.want_accounts(accounts)

    async def _audit(self) -> None:
        """Compare the tables with what was written. The next step repairs differences."""
        if found := await asyncio.to_thread(self._drift):
            log.warning("drift of authorization found, repairing it", extra={"rows": found})
            self._drifted(found)
            self._resync_needed = True

    def _drift(self) -> int:
        return self.tables.drift() + self.audited.drift() + self.destinations.drift()


def _addresses(servers: Collection[ServerPlan]) -> set[str]:
    return {address for plan in servers for address in plan.addresses}
