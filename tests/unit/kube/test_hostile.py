"""Whatever is written, nothing breaks, somebody is told, and the good objects beside it are as without it."""

import pytest

from agent.ir.plan import Output
from agent.kube.decode import decode
from agent.kube.documents import split
from agent.model.change import Change, Problem, Upsert
from agent.model.meta import Key
from agent.store.store import Store
from agent.translate.incremental import Translator, Unit
from agent.translate.options import Options
from support.hostile import Hostile, hostile_documents

ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute")
GOOD = """
{apiVersion: v1, kind: Namespace, metadata: {name: app, labels: {weft.dev/mode: l7}}}
---
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/12]}}
---
apiVersion: v1
kind: Service
metadata: {name: good, namespace: app, creationTimestamp: '2026-01-01T00:00:00Z'}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: good, namespace: app, labels: {kubernetes.io/service-name: good}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: good, namespace: app}
spec:
  parentRefs: [{group: "", kind: Service, name: good}]
  rules: [{backendRefs: [{name: good, port: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: app}
spec: {clusterIP: 10.96.0.2, ports: [{name: http, port: 80}]}
"""


def read(text: str, is_json: bool = False) -> tuple[list[Change], list[Problem]]:
    """What a text gives: changes and problems."""
    changes: list[Change] = []
    problems: list[Problem] = []
    for document in split(text, is_json):
        where = f"file:{document.line}"
        if document.error:
            problems.append(Problem(where, "document", "$", document.error))
            continue
        for found in decode(document.value, where):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                changes.append(Upsert(found))
    return changes, problems


def good_units(translator: Translator) -> dict[Unit, Output]:
    return {unit: item for unit, item in translator.outputs.items() if unit.key.name in ("good", "web")}


@pytest.fixture(scope="module")
def undisturbed() -> dict[Unit, Output]:
    translator = Translator(Store(), Options("here"))
    translator.update(read(GOOD)[0])
    return good_units(translator)


def records(translator: Translator, problems: list[Problem], key: Key) -> list[str]:
    """What users are told of an object: problems, warnings, and false conditions, one a parent."""
    conditions = [
        f"{key}: {[c for c in parent.conditions if (c.type == 'PartiallyInvalid') == c.status]}"
        for item in translator.outputs.values()
        for parent in item.statuses.get(key, ())
        if any((c.type == "PartiallyInvalid") == c.status for c in parent.conditions)
    ]
    warnings = [warning for item in translator.outputs.values() for warning in item.warnings]
    return [str(problem) for problem in problems] + warnings + conditions


DOCUMENTS = list(hostile_documents())


def test_there_are_enough():
    assert sum(not document.harmless for document in DOCUMENTS) >= 500


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.what)
def test_a_hostile_object_is_told_of_once_and_hurts_nobody(document: Hostile, undisturbed: dict[Unit, Output]):
    translator = Translator(Store(), Options("here"))
    translator.update(read(GOOD)[0])
    changes, problems = read(document.text, document.is_json)
    translator.update(changes)
    keys = [change.value.key for change in changes if isinstance(change, Upsert)]
    found = records(translator, problems, keys[0] if keys else Key("", "", ""))
    assert len(found) == (0 if document.harmless else 1), found
    for problem in problems:
        assert problem.subject
        assert problem.field
        assert "\n" not in problem.subject
    # A Route that is accepted in part is a Route of `web`; nobody else may warning.
    served = any(key.kind in ROUTES and not problems for key in keys)
    names = ("good",) if served else ("good", "web")
    assert {unit: item for unit, item in good_units(translator).items() if unit.key.name in names} == {
        unit: item for unit, item in undisturbed.items() if unit.key.name in names
    }


def test_a_service_s_backends_may_point_at_each_other():
    """Only the first level of Routes counts: a circle is no circle (GEP-1294)."""
    routes = "---".join(
        f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {a}, namespace: app}}
spec:
  parentRefs: [{{group: "", kind: Service, name: {a}}}]
  rules: [{{backendRefs: [{{name: {b}, port: 80}}]}}]
"""
        for a, b in (("good", "web"), ("web", "good"))
    )
    translator = Translator(Store(), Options("here"))
    changes, problems = read(GOOD + "---" + routes)
    translator.update(changes)
    keys = [Key("HTTPRoute", "app", name) for name in ("good", "web")]
    assert [records(translator, problems, key) for key in keys] == [[], []]
    assert all(any(item.statuses.get(key) for item in translator.outputs.values()) for key in keys)
