"""The admission policy that ships: a real API server refuses labels and annotations that say nothing known."""

import time
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest

from agent.ir.plan import OnBackendLoss, OnLoss
from agent.ir.tables import Mode
from agent.store.mode import MODE_LABEL
from agent.translate.labels import CHOICES
from agent.translate.services import ON_BACKEND_LOSS, ON_LOSS
from support.apiserver.gateway import install_imports
from support.apiserver.manifests import apply
from support.apiserver.objects import IMPORTS, namespace, pod, service, service_import
from support.apiserver.process import Cluster

PATIENCE = 30.0
MERGE_PATCH = "application/merge-patch+json"
# What agents understand, by label and by annotation.
LABELS = {MODE_LABEL: tuple(mode.label for mode in Mode), **CHOICES}
ANNOTATIONS = {ON_LOSS: tuple(OnLoss), ON_BACKEND_LOSS: tuple(OnBackendLoss)}
FIELDS = [("labels", *item) for item in LABELS.items()] + [("annotations", *item) for item in ANNOTATIONS.items()]
OBJECTS = {
    "Namespace": ("/api/v1/namespaces", namespace("new")),
    "Pod": ("/api/v1/namespaces/default/pods", pod("new", "n1")),
    "Service": ("/api/v1/namespaces/default/services", service("new")),
    "ServiceImport": (f"{IMPORTS}/namespaces/default/serviceimports", service_import("new")),
}


def marked(kind: str, field: str, name: str, value: str) -> tuple[str, dict[str, Any]]:
    """An object of a kind with a label or annotation, and where it would be made, were it not for the dry run."""
    path, document = OBJECTS[kind]
    return f"{path}?dryRun=All", document | {"metadata": document["metadata"] | {field: {name: value}}}


def refusal(cluster: Cluster, method: str, path: str, document: Any, kind: str = "application/json") -> str:
    """What the policy says against a request; empty when it has nothing against it."""
    try:
        cluster.request(method, path, document, kind)
    except urllib.error.HTTPError as error:
        if error.code != 422 or "ValidatingAdmissionPolicy 'weft-labels'" not in error.__notes__[0]:
            raise
        return error.__notes__[0]
    return ""


@pytest.fixture(scope="module")
def guarded(reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster where the policy is in force for every kind."""
    made = Cluster(tmp_path_factory.mktemp("guarded"))
    try:
        made.start()
        install_imports(made)
        # From before the policy: what it has stays.
        made.request("POST", "/api/v1/namespaces", namespace("old", **{MODE_LABEL: "L7"}))
        apply(made, "base/admission.yaml")
        deadline = time.monotonic() + PATIENCE
        for kind in OBJECTS:
            while not refusal(made, "POST", *marked(kind, "labels", MODE_LABEL, "L7")):
                assert time.monotonic() < deadline, f"the policy is not in force for {kind}"
                time.sleep(0.1)
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize(
    ("field", "name", "choices"), FIELDS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_says_nothing_known_is_refused_and_named(
    kind: str, field: str, name: str, choices: tuple[str, ...], guarded: Cluster
) -> None:
    for value in choices:
        assert refusal(guarded, "POST", *marked(kind, field, name, value)) == ""
    for value in (choices[0].upper(), "", "x"):
        assert f"metadata.{field}[{name}]: must be" in refusal(guarded, "POST", *marked(kind, field, name, value))


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_says_nothing_is_taken(kind: str, guarded: Cluster) -> None:
    path, document = OBJECTS[kind]
    assert refusal(guarded, "POST", f"{path}?dryRun=All", document) == ""
    assert refusal(guarded, "POST", *marked(kind, "labels", "app", "web")) == ""


def test_what_an_object_has_already_does_not_stop_other_changes(guarded: Cluster) -> None:
    def patch(**labels: str | None) -> str:
        return refusal(guarded, "PATCH", "/api/v1/namespaces/old", {"metadata": {"labels": labels}}, MERGE_PATCH)

    assert patch(team="a") == ""
    assert "must be one of none, l4, l7" in patch(**{MODE_LABEL: "L4"})
    assert patch(**{MODE_LABEL: "l7"}) == ""
    assert "must be one of none, l4, l7" in patch(**{MODE_LABEL: "L7"})
    assert patch(**{MODE_LABEL: None}) == ""
