"""Clients whose connections to the waypoint have to end, because policies admit less of them than before. Pure.

Envoy judges a request when it begins. What runs then, an answer or a WebSocket, would go on for as long as its client
likes. Envoy cannot tell which of its connections have requests of which rule; so all connections of the client to that
listener end, and clients connect again. They end once Envoy judges by the policies of now, or the client could begin
the same again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.ir.envoy import Envoy
from agent.ir.http import BackendPort, ListenerIR
from agent.ir.identity import Identity, Workload
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.ir.requirements import UNKNOWN, Requirements, narrowed
from agent.ir.resources import ResourceName
from agent.ir.waypoint_state import ClientsRevoked
from agent.translate.incremental import Unit
from agent.translate.rule_requirements import judged_backends

Required = Mapping[BackendPort, Requirements]
Needs = Mapping[str, frozenset[ResourceName]]


@dataclass(slots=True)
class _Change:
    """A listener whose policies changed: the number of the last change, what was required before the first one, and the
    Envoys at which connections were ended.
    """

    number: int
    before: dict[BackendPort, Requirements]
    done: set[Envoy] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A listener whose policies changed, at Envoys that judge by those of now: what was required at its backends and
    what is, and the accounts of clients by their addresses.
    """

    port: int
    envoys: frozenset[Envoy]
    before: Required
    now: Required
    accounts: Mapping[str, ServiceAccount]


class Revocations:
    """What policies required of the clients of each listener, until Envoys judge by what they require now.

    Of a listener that is new here, as all are after a start of the agent, it is not known what clients had before: only
    connections of those end that no backend admits.
    """

    def __init__(self) -> None:
        self._listeners: dict[Unit, dict[str, Required]] = {}
        self._changes: dict[str, _Change] = {}
        self._accounts: Mapping[str, ServiceAccount] = {}

    def take(self, changed: Mapping[Unit, tuple[Output, Output]], number: int) -> None:
        """Outputs of units changed; `number` is that of the change."""
        for unit, (_, output) in changed.items():
            if output.client_allow_lists:
                self._accounts = output.accounts
            former = self._listeners.pop(unit, {})
            for name in former.keys() - output.listeners.keys():
                self._changes.pop(name, None)
            if output.listeners:
                self._listeners[unit] = {
                    name: self._take_listener(name, dict(_required(item, output, former.get(name, {}))), former, number)
                    for name, item in output.listeners.items()
                }

    def _take_listener(self, name: str, required: Required, former: Mapping[str, Required], number: int) -> Required:
        before = former.get(name, {})
        known = any(before.get(backend, found) != found for backend, found in required.items())
        if known or (name not in former and any(required.values())):
            change = self._changes.setdefault(name, _Change(number, dict(before)))
            change.number, change.done = number, set()
        return required

    @property
    def waiting(self) -> bool:
        """Whether there are changes by which not every Envoy judges yet."""
        return bool(self._changes)

    def due(
        self,
        published: int,
        needs: Needs,
        answered: Mapping[Envoy, frozenset[ResourceName]],
        ports: Mapping[str, int],
    ) -> list[Revocation]:
        """The listeners at which connections have to end now, each time once: at Envoys that have answered all that the
        listener needs as of the change. `published` is the number of the change that answers are about.
        """
        found: list[Revocation] = []
        ready = [(name, change) for name, change in self._changes.items() if change.number <= published]
        for name, change in ready:
            needed = needs.get(name, frozenset())
            envoys = {envoy for envoy, resources in answered.items() if needed <= resources} - change.done
            if envoys and name in ports:
                now = next(known[name] for known in self._listeners.values() if name in known)
                found.append(Revocation(ports[name], frozenset(envoys), change.before, now, self._accounts))
            change.done |= envoys
            if answered and change.done >= answered.keys():
                del self._changes[name]
        return found


def revoked(due: Iterable[Revocation]) -> list[ClientsRevoked]:
    """The connections that have to end. With hundreds of large policies of a namespace this takes seconds: it is for a
    thread.
    """
    return [found for item in due for found in _revoked(item)]


def _revoked(item: Revocation) -> Iterator[ClientsRevoked]:
    accounts = {account: _loses(item.before, item.now, _identity(account)) for account in {*item.accounts.values()}}
    others = _loses(item.before, item.now, None)
    # Where clients that are not known lose something, those are named that lose nothing.
    named = frozenset(address for address, account in item.accounts.items() if accounts[account] is not others)
    if named or others:
        for address in (address for envoy in item.envoys for address in envoy.addresses):
            yield ClientsRevoked(address, item.port, named, others)


def _required(listener: ListenerIR, output: Output, former: Required) -> Iterator[tuple[BackendPort, Requirements]]:
    """What is required at the backends of a listener. What is not known stays as it was: that of a backend without
    endpoints, or with an endpoint whose policies have not arrived here. Nobody loses anything by that.
    """
    for backend in {item for rule in listener.rules for item in judged_backends(rule)}:
        found = output.requirements.get(backend, ())
        if output.endpoints.get(backend) and UNKNOWN not in found:
            yield backend, found
        elif backend in former:
            yield backend, former[backend]


def _loses(before: Required, now: Required, client: Identity | None) -> bool:
    """Whether a client may have had something at a listener that it does not have now; where it is not known what it
    had, whether it is a known client and has nothing.
    """
    if before:
        changed = ((found, now[backend]) for backend, found in before.items() if now.get(backend, found) != found)
        return any(narrowed(found, after, client) for found, after in changed)
    return client is not None and bool(now) and all(_is_closed(found, client) for found in now.values())


def _is_closed(found: Requirements, client: Identity | None) -> bool:
    return any(not item.conditions_for(client) for item in found)


def _identity(account: ServiceAccount) -> Identity:
    return Identity(account.namespace, account.name, Workload(account.namespace, "", "", ""))
