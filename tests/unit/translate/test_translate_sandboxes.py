"""Pods that have an address before their statuses say so: the waypoint knows them from the first connection on."""

import pytest

from agent.model.change import Change, Delete, Upsert
from agent.model.core import Pod, PodSpec, PodStatus
from agent.model.facts import PodCgroup, PodSandbox
from agent.model.meta import ObjectMeta
from agent.store.store import Store, TrackedView
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.translate import namespace

HASH = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def known(*changes: Change, address: str = "", notes: dict[str, str] | None = None, host: bool = False) -> object:
    """The addresses of the pod's plan, and of the waypoint's client allow list, behind some changes."""
    store = Store()
    made = Translator(store, Options("here"))
    pod = Pod(
        ObjectMeta("web", "app", "u-1", annotations=notes or {}),
        PodSpec("here", host_network=host),
        PodStatus("Pending", address),
    )
    made.update([Upsert(namespace("app", "l7")), Upsert(pod), *changes])
    (plan,) = [plan for output in made.outputs.values() for plan in output.pods.values()]
    allow_listed = TrackedView(store).computed("allow-listed-clients", "")
    assert isinstance(allow_listed, dict)
    return plan.addresses, allow_listed.get("app", ())


SANDBOX = PodSandbox("u-1", ("10.1.0.9",))


@pytest.mark.parametrize(
    ("changes", "address", "expected"),
    [
        ((), "", ()),
        ((Upsert(SANDBOX),), "", ("10.1.0.9",)),
        ((Upsert(SANDBOX),), "10.1.0.8", ("10.1.0.8",)),
        ((Upsert(SANDBOX), Delete(SANDBOX.key)), "", ()),
        ((Upsert(PodSandbox("u-2", ("10.1.0.9",))),), "", ()),
    ],
    ids=["none", "sandbox", "status", "gone", "another's"],
)
def test_a_status_tells_more_than_a_sandbox(
    changes: tuple[Change, ...], address: str, expected: tuple[str, ...]
) -> None:
    assert known(Upsert(PodCgroup("u-1", 7)), *changes, address=address) == (expected, expected)


def test_a_static_pod_s_sandbox_bears_its_hash() -> None:
    notes = {f"kubernetes.io/config.{what}": HASH for what in ("hash", "mirror")}
    facts = (Upsert(PodCgroup(HASH, 7)), Upsert(PodSandbox(HASH, ("10.1.0.9",))))
    assert known(*facts, notes=notes) == (("10.1.0.9",), ("10.1.0.9",))


def test_a_pod_on_the_host_s_network_has_none() -> None:
    assert known(Upsert(PodCgroup("u-1", 7)), Upsert(SANDBOX), host=True) == ((), ())


def test_addresses_of_the_status_alone_are_not_provisional() -> None:
    found = []
    for address, sandbox in (("", SANDBOX), ("10.1.0.9", SANDBOX), ("10.1.0.9", None), ("", None)):
        store = Store()
        made = Translator(store, Options("here"))
        pod = Pod(ObjectMeta("web", "app", "u-1"), PodSpec("here"), PodStatus("Pending", address))
        facts = [Upsert(PodCgroup("u-1", 7)), *([Upsert(sandbox)] if sandbox else [])]
        made.update([Upsert(namespace("app", "l7")), Upsert(pod), *facts])
        found += [plan.provisional for output in made.outputs.values() for plan in output.pods.values()]
    assert found == [True, False, False, False]
