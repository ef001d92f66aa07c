"""Pods of the accounts that policies name: which are watched, and what is kept of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.ir.policy import ServiceAccount
from agent.kube.account_pods import AccountWatchers, account_collection, covering
from agent.kube.awakenings import either
from agent.kube.directory_source import DirectorySource
from agent.model.change import Change, Delete, Problem, Upsert
from agent.model.facts import AccountPod
from support.fakes.watch import event, page

WEB, DB, ALL = (ServiceAccount("app", name) for name in ("web", "db", "*"))
OTHER = ServiceAccount("shop", "web")


def pod(name: str, account: str, *addresses: str, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "app",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "resourceVersion": "5",
        },
        "spec": {"nodeName": "n2", "serviceAccountName": account, **spec},
        "status": {"phase": phase, "podIPs": [{"ip": address} for address in addresses]},
    }


def facts(document: dict[str, Any], account: ServiceAccount = WEB) -> tuple[object, ...]:
    found = account_collection(account, "n1").read(json.dumps(document).encode(), "pods/app/a")
    assert not isinstance(found, Problem)
    return tuple(found)


def test_of_a_pod_its_addresses_and_its_account_are_kept() -> None:
    expected = AccountPod("app", "a", "web", ("10.1.0.1", "fd00::1"), "uid-a", "2026-01-01T00:00:00Z", "web", "n2")
    assert facts(pod("a", "web", "10.1.0.1", "fd00::1")) == (expected,)
    (of_all,) = facts(pod("a", "web", "10.1.0.1"), ALL)
    assert isinstance(of_all, AccountPod)
    assert (of_all.service_account, of_all.watch, of_all.key.name) == ("web", "*", "*/a")


@pytest.mark.parametrize(
    "document",
    [
        pod("a", "web"),
        pod("a", "web", "10.1.0.1", phase="Succeeded"),
        pod("a", "web", "10.1.0.1", phase="Failed"),
        pod("a", "web", "192.0.2.1", hostNetwork=True),
        pod("a", "other", "10.1.0.1"),
        pod("a", "", "10.1.0.1"),
    ],
    ids=["no address", "succeeded", "failed", "hostNetwork", "another account", "no account"],
)
def test_a_pod_without_addresses_of_its_own_is_nobody(document: dict[str, Any]) -> None:
    assert facts(document) == ()


def test_a_pod_that_cannot_be_decoded_is_a_problem() -> None:
    assert isinstance(account_collection(WEB, "n1").read(b'{"metadata": 7}', "pods/app/a"), Problem)


@pytest.mark.parametrize(
    ("account", "selector"),
    [(WEB, "spec.nodeName!=n1,spec.serviceAccountName=web"), (ALL, "spec.nodeName!=n1")],
)
def test_the_server_selects_the_pods(account: ServiceAccount, selector: str) -> None:
    found = account_collection(account, "n1")
    assert (found.path("v1"), found.query) == ("/api/v1/namespaces/app/pods", {"fieldSelector": selector})


def test_an_account_of_any_name_includes_the_others_of_its_namespace() -> None:
    assert covering([WEB, DB, ALL, OTHER]) == {ALL, OTHER}


class Watched:
    """The watchers, by the names of their tasks."""

    def __init__(self, most: int = 9) -> None:
        self.watchers = AccountWatchers("n1", most)
        self.running: dict[str, Any] = {}
        self.changes: list[Change] = []

    def want(self, *accounts: ServiceAccount) -> set[str]:
        self.watchers.want(accounts)
        return self.follow()

    def follow(self) -> set[str]:
        """As the source does after each batch; returns what is followed then."""
        self.running |= dict(self.watchers.start())
        for name, watcher in self.watchers.stop():
            assert self.running.pop(name) is watcher
            self.changes += watcher.reflector.forget()
        return set(self.running)

    def list(self, account: ServiceAccount, *pods: dict[str, Any]) -> set[str]:
        """A watcher's list is complete."""
        self.changes += self.running[f"pods of {account}"].reflector.page(page(*pods))
        return self.follow()


def test_each_account_has_a_watcher_while_it_is_wanted() -> None:
    watched = Watched()
    assert watched.want(WEB, OTHER) == {"pods of app/web", "pods of shop/web"}
    assert not watched.watchers.listed
    watched.list(WEB, pod("a", "web", "10.1.0.1"))
    watched.list(OTHER)
    assert watched.watchers.listed
    (upsert,) = watched.changes
    assert isinstance(upsert, Upsert)
    assert watched.want(OTHER) == {"pods of shop/web"}
    assert watched.changes[1:] == [Delete(upsert.value.key)]
    assert watched.want() == set()
    assert watched.watchers.listed


def test_a_watcher_ends_when_the_one_that_replaces_it_has_listed_its_pods() -> None:
    watched, one = Watched(), pod("a", "web", "10.1.0.1")
    watched.want(WEB)
    watched.list(WEB, one)
    assert watched.want(WEB, ALL) == {"pods of app/web", "pods of app/*"}
    assert watched.list(ALL, one) == {"pods of app/*"}
    first, second, gone = watched.changes
    assert isinstance(first, Upsert)
    assert isinstance(second, Upsert)
    assert gone == Delete(first.value.key)
    assert second.value.key != first.value.key
    assert watched.want(WEB) == {"pods of app/web", "pods of app/*"}
    assert watched.list(WEB, one) == {"pods of app/web"}


def test_above_the_limit_accounts_are_named_and_those_that_are_watched_stay() -> None:
    watched = Watched(most=2)
    assert watched.want(WEB, OTHER) == {"pods of app/web", "pods of shop/web"}
    assert watched.want(DB, WEB, OTHER) == {"pods of app/web", "pods of shop/web"}
    assert watched.watchers.left_out == (DB,)
    status = watched.watchers.status()
    assert status["leftOut"] == ["app/db"]
    assert watched.want(DB, WEB) == {"pods of app/web", "pods of app/db"}
    assert watched.watchers.left_out == ()


def test_a_pod_whose_account_changes_nothing_else_is_followed() -> None:
    watched = Watched()
    watched.want(WEB)
    watched.list(WEB, pod("a", "web", "10.1.0.1"))
    reflector = watched.running["pods of app/web"].reflector
    (gone,) = reflector.event(event("MODIFIED", pod("a", "web", "10.1.0.1", phase="Failed")))
    assert gone == Delete(watched.changes[0].value.key)  # type: ignore[union-attr]


def manifest(name: str, account: str, address: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Pod", **pod(name, account, address)})


async def test_a_directory_s_pods_are_those_of_the_accounts_that_are_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "\n---\n".join([manifest("a", "web", "10.1.0.1"), manifest("b", "db", "10.1.0.2")])
    )
    source = DirectorySource(tmp_path)
    changes = source.changes()
    await anext(changes)
    assert source.accounts_listed
    source.want_accounts(frozenset({WEB}))
    assert not source.accounts_listed
    (upsert,) = await asyncio.wait_for(anext(changes), 10)
    assert isinstance(upsert, Upsert)
    assert isinstance(upsert.value, AccountPod)
    assert (upsert.value.service_account, upsert.value.addresses) == ("web", ("10.1.0.1",))
    # It counts as listed when the changes have been taken.
    assert not source.accounts_listed
    following = asyncio.ensure_future(anext(changes))
    async with asyncio.timeout(10):
        while not source.accounts_listed:
            await asyncio.sleep(0.01)
    source.want_accounts(frozenset())
    (delete,) = await asyncio.wait_for(following, 10)
    assert delete == Delete(upsert.value.key)
    await changes.aclose()  # type: ignore[attr-defined]


async def test_either_yields_for_items_and_for_the_event_and_ends_with_the_items() -> None:
    second, event_set = asyncio.Event(), asyncio.Event()

    async def items() -> AsyncIterator[int]:
        yield 1
        await second.wait()
        yield 2

    both = either(items(), event_set)  # type: ignore[type-var]
    assert await anext(both) == 1
    event_set.set()
    assert await anext(both) is None
    assert not event_set.is_set()
    second.set()
    assert await anext(both) == 2
    with pytest.raises(StopAsyncIteration):
        await anext(both)
