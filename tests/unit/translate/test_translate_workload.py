"""Workloads: what does not change with a roll-out."""

import pytest

from agent.ir.identity import Workload
from agent.model.core import Pod
from agent.model.meta import ObjectMeta, OwnerReference
from agent.translate.workload import workload_of


def pod(*owners: OwnerReference, **labels: str) -> Pod:
    named = {name.replace("_", "/"): value for name, value in labels.items()}
    return Pod(ObjectMeta("face-7d9f-x2x", "faces", labels=named, owner_references=owners))


@pytest.mark.parametrize(
    ("owners", "labels", "name"),
    [
        ((), {}, "face-7d9f-x2x"),
        ((OwnerReference("Deployment", "face"),), {}, "face"),
        ((OwnerReference("ReplicaSet", "face-7d9f", True),), {"pod-template-hash": "7d9f"}, "face"),
        ((OwnerReference("ReplicaSet", "face-7d9f", True),), {}, "face-7d9f"),
        ((OwnerReference("Other", "x"), OwnerReference("StatefulSet", "db", True)), {}, "db"),
        ((OwnerReference("Job", "backup-29384756", True),), {}, "backup"),
        ((OwnerReference("Job", "import", True),), {}, "import"),
    ],
)
def test_the_name_is_that_of_what_stays(owners, labels, name) -> None:
    assert workload_of(pod(*owners, **labels)) == Workload("faces", name, name, "latest")


def test_labels_name_service_and_revision_in_istios_order() -> None:
    labels = {"app": "a", "version": "1"}
    assert workload_of(pod(**labels)) == Workload("faces", "face-7d9f-x2x", "a", "1")
    labels |= {"app.kubernetes.io_name": "b", "app.kubernetes.io_version": "2"}
    assert workload_of(pod(**labels)) == Workload("faces", "face-7d9f-x2x", "b", "2")
    labels |= {"service.istio.io_canonical-name": "c", "service.istio.io_canonical-revision": "3"}
    assert workload_of(pod(**labels)) == Workload("faces", "face-7d9f-x2x", "c", "3")


def test_workloads_of_two_namespaces_are_two() -> None:
    assert Workload("a", "x", "x", "latest").id != Workload("b", "x", "x", "latest").id
