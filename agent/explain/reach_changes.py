"""Whose reach differs between two directories of manifests: which clients may connect to pods with one of them only."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from agent.explain.protection import Client, Protection, Verdict, client_id, ports_of
from agent.explain.servers import Servers, server_name
from agent.ir.policy import ANY, ServiceAccount


@dataclass(frozen=True, slots=True)
class ReachChange:
    """Clients that may connect to ports of pods with the new directory only (`effect` is `allowed`), with the old one
    only (`refused`), or with both, but with other requests (`requests`).

    The ports are `ports`, or, where this is None, all but those of `but`; `services` are the ports of Services that
    lead there. Of a client the narrowest of its names in `clients` and `unchanged` counts: its service account, its
    namespace, or `*`. `old` and `new` are the verdicts with their reasons.
    """

    clients: tuple[str, ...]
    unchanged: tuple[str, ...]
    effect: str
    old: str
    new: str
    pods: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    ports: tuple[int, ...] | None = None
    but: tuple[int, ...] | None = None


def compare_reach(old: Servers, new: Servers) -> list[ReachChange]:
    """Every difference. A pod that only one directory has is judged by the policies of both."""
    pods: dict[ReachChange, set[str]] = defaultdict(set)
    for key in old.pods.keys() | new.pods.keys():
        before, after = old.pods.get(key) or new.pods[key], new.pods.get(key) or old.pods[key]
        services = {**old.service_ports(before), **new.service_ports(after)}
        for change in changes_between(old.protection(before), new.protection(after), services):
            pods[change].add(server_name(key, after))
    found = (replace(change, pods=tuple(sorted(names))) for change, names in pods.items())
    return sorted(found, key=lambda item: (item.pods, item.ports is None, item.ports or (), item.clients, item.new))


def changes_between(old: Protection, new: Protection, services: Mapping[str, int]) -> Iterator[ReachChange]:
    """The differences of one pod. `services` are the ports of Services that lead to its ports."""
    ports = {*old.ports, *new.ports, *services.values()}
    found: dict[ReachChange, list[int]] = defaultdict(list)
    for port in sorted(ports):
        for change in _changes_at(old, new, port):
            found[change].append(port)
    for change, alike in found.items():
        leading, listed, but = ports_of(alike, ports, services)
        yield replace(change, services=leading, ports=listed, but=but)


def _changes_at(old: Protection, new: Protection, port: int) -> Iterator[ReachChange]:
    """The differences at one port."""
    clients = {*old.clients, *new.clients}
    found: dict[tuple[str, str, str], list[Client]] = defaultdict(list)
    for client in sorted(clients, key=client_id):
        before, after = old.verdict(client, port), new.verdict(client, port)
        if (before.allowed, before.requests) != (after.allowed, after.requests):
            effect = "requests" if before.allowed and after.allowed else _word(after)
            found[effect, _text(before, old), _text(after, new)].append(client)
    unchanged = clients.difference(*found.values())
    for change, alike in found.items():
        named, without = _narrowed(alike, unchanged)
        yield ReachChange(named, without, *change)


def _word(verdict: Verdict) -> str:
    return "allowed" if verdict.allowed else "refused"


def _text(verdict: Verdict, protection: Protection) -> str:
    return f"{_word(verdict)}: {protection.reason(verdict)}"


def _narrowed(changed: Iterable[Client], unchanged: Iterable[Client]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fewest of both that say the same: none that is as the next broader one of them."""
    named: dict[Client, bool] = {}
    both = [*((client, True) for client in changed), *((client, False) for client in unchanged)]
    for client, differs in sorted(both, key=lambda item: len(_broader(item[0]))):
        if differs != next((named[group] for group in _broader(client) if group in named), False):
            named[client] = differs
    first, second = (sorted(client_id(client) for client in named if named[client] is it) for it in (True, False))
    return tuple(first), tuple(second)


def _broader(client: Client) -> list[Client]:
    """The groups of which clients are a part, the narrowest first."""
    if client is None:
        return []
    return [None] if client.name == ANY else [ServiceAccount(client.namespace, ANY), None]
