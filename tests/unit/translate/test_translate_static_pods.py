"""Static pods: their cgroups are named by a hash that only their mirrors in the API know."""

import pytest

from agent.ir.tables import Mode
from agent.model.change import Change, Delete, Upsert
from agent.model.core import Pod, PodSpec, PodStatus
from agent.model.facts import PodCgroup
from agent.model.meta import Key, ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import Translator
from agent.translate.options import Options
from support.translate import namespace

HASH = "5d41402abc4b2a76b9719d911017c592"


def mirror(name: str, made: str, **notes: str) -> Pod:
    annotations = {f"kubernetes.io/config.{key}": value for key, value in notes.items()}
    meta = ObjectMeta(name, "app", f"uid-{name}", creation_timestamp=made, annotations=annotations)
    return Pod(meta, PodSpec("here"), PodStatus("Running", "10.1.0.9"))


def rows(*changes: Change) -> dict[int, str]:
    """Pod rows by cgroup: whose each is. Every change is a batch of its own."""
    translator = Translator(Store(), Options("here"))
    for change in (Upsert(namespace("app", "l4")), Upsert(PodCgroup(HASH, 900)), *changes):
        translator.update([change])
    found = [pair for output in translator.outputs.values() for pair in output.pods.items()]
    assert len(dict(found)) == len(found)
    assert all(plan.mode is Mode.L4 for _, plan in found)
    return {cgroup: plan.pod.name for cgroup, plan in found}


def test_a_mirror_s_cgroup_is_that_of_its_hash():
    assert rows(Upsert(mirror("proxy", "1", hash=HASH, mirror=HASH))) == {900: "proxy"}


@pytest.mark.parametrize("notes", [{"hash": HASH}, {"mirror": HASH}, {"hash": HASH, "mirror": "0" * 32}])
def test_half_a_mirror_is_none(notes: dict[str, str]):
    assert rows(Upsert(mirror("fake", "1", **notes))) == {}


def test_nobody_can_point_at_an_ordinary_pod():
    uid = "0c9d8c4e-3a3f-4b0e-9a53-1f6f8a1c2b3d"
    assert rows(Upsert(PodCgroup(uid, 901)), Upsert(mirror("fake", "1", hash=uid, mirror=uid))) == {}


def test_of_two_mirrors_the_older_counts_in_any_order():
    real = Upsert(mirror("real", "2026-01-01T00:00:00Z", hash=HASH, mirror=HASH))
    fake = Upsert(mirror("fake", "2026-01-02T00:00:00Z", hash=HASH, mirror=HASH))
    assert rows(real, fake) == rows(fake, real) == {900: "real"}
    assert rows(real, fake, Delete(Key("Pod", "app", "real"))) == {900: "fake"}
