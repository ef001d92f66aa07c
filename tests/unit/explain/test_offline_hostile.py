"""Objects that nobody should write: all are told of by `weft lint`, and none stops any offline command."""

from pathlib import Path

import pytest

from agent.explain.diff import compare
from agent.explain.lint import findings
from agent.explain.manifest_reach import ManifestReach
from agent.explain.manifests import Manifests, read
from agent.explain.query import parse_query
from agent.explain.reach import ReachQuery
from agent.explain.servers import Servers, server_name
from agent.explain.simulation import simulate
from agent.kube.directory_source import parsed
from agent.translate.options import Options
from support.explain import MESH, ROUTE, write
from support.hostile import Hostile, hostile_documents

DOCUMENTS = list(hostile_documents())
HERE = Options("here", zone="east")
# Hostile Routes are all about `web`; hostile Services about the address of this one, which is older.
GOOD_MESH = MESH.replace("web", "good").replace(
    "namespace: app}\nspec: {ports",
    "namespace: app, creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {clusterIP: 10.96.0.1, ports",
)
GOOD_ROUTE = ROUTE.replace("web", "good")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every hostile document in a file of its own, beside good ones."""
    made = write(tmp_path_factory.mktemp("hostile"), mesh=GOOD_MESH, route=GOOD_ROUTE)
    for number, document in enumerate(DOCUMENTS):
        (made / f"{number}{'.json' if document.is_json else '.yaml'}").write_text(document.text)
    return made


@pytest.fixture(scope="module")
def manifests(folder: Path) -> Manifests:
    return read(folder)


def test_every_hostile_document_is_found(manifests: Manifests) -> None:
    files = {Path(one.location.rpartition(":")[0]).stem for one in findings(manifests)}
    hostile: list[Hostile] = [one for number, one in enumerate(DOCUMENTS) if str(number) not in files]
    assert [one.what for one in hostile if not one.harmless] == []


def test_nothing_is_found_in_the_good_ones(manifests: Manifests) -> None:
    assert [one for one in findings(manifests) if "/mesh.yaml" in one.location or "/route.yaml" in one.location] == []


def test_they_change_nothing_for_the_good_ones(manifests: Manifests, tmp_path: Path) -> None:
    good = read(write(tmp_path, mesh=GOOD_MESH, route=GOOD_ROUTE))
    changes = [one for one in compare(good, manifests) if one.service == "app/good"]
    assert {client for one in changes for client in one.clients} & {"app", "shop", "plain"} == set()
    query = parse_query("app/a", "GET", "http://good/", [])
    one, two = (simulate(found, query, HERE)["waypoint"] for found in (good, manifests))
    assert one == two


def test_they_do_not_stop_a_question_about_policies(folder: Path, manifests: Manifests) -> None:
    servers = Servers(manifests, parsed(folder))
    names = {server_name(key, pod) for key, pod in servers.pods.items()}
    for key in servers.pods:
        if key.kind == "Pod":
            found = ReachQuery(pod=(key.namespace, key.name)).answer(ManifestReach(servers))
            listed = found.document(found.rows)["targets"]
            assert names - {name for row in listed for name in row["pods"]} <= {str(key).partition(" ")[2]}
