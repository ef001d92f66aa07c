"""Whatever is written, nothing breaks, somebody is told, and the good objects beside it are as without it."""

import pytest
from hostile import hostile_documents

from agent.model.change import Change, Problem, Upsert
from agent.model.meta import Key, Object
from agent.plan.plan import Fragment
from agent.sources.decode import decode
from agent.sources.documents import split
from agent.translate.incremental import Translator, Unit
from agent.translate.options import Options
from agent.world import World

GOOD = """
{apiVersion: v1, kind: Namespace, metadata: {name: app, labels: {weft.dev/mode: l7}}}
---
apiVersion: v1
kind: Service
metadata: {name: good, namespace: app}
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
"""
WEB = """
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


def good_units(translator: Translator) -> dict[Unit, Fragment]:
    return {unit: item for unit, item in translator.fragments.items() if unit.key.name in ("good", "web")}


@pytest.fixture(scope="module")
def undisturbed() -> dict[Unit, Fragment]:
    translator = Translator(World(), Options("here"))
    translator.update(read(GOOD + "---\n" + WEB)[0])
    return good_units(translator)


def told(translator: Translator, key: Key) -> int:
    """How many parents of a Route are told that something is not accepted, resolved or valid."""
    statuses = [item.statuses.get(key, ()) for item in translator.fragments.values()]
    return sum(
        any((c.type == "PartiallyInvalid") == c.status for c in parent.conditions) for s in statuses for parent in s
    )


def test_there_are_enough():
    assert len(hostile_documents()) >= 500


def test_hostile_objects_hurt_nobody(undisturbed):
    problems_seen = conditions_seen = 0
    for text, is_json in hostile_documents():
        translator = Translator(World(), Options("here"))
        translator.update(read(GOOD + "---\n" + WEB)[0])
        changes, problems = read(text, is_json)
        translator.update(changes)
        assert len(problems) <= 1, (text[:300], problems)
        problems_seen += len(problems)
        for change in changes:
            assert isinstance(change, Upsert)
            assert isinstance(change.value, Object)
            conditions_seen += told(translator, change.value.key)
        for problem in problems:
            assert problem.subject
            assert problem.field
            assert "\n" not in problem.subject
        touched = {change.value.key for change in changes if isinstance(change, Upsert)}
        if not any(key.kind in ("EndpointSlice", "Namespace", "Pod") or "Route" in key.kind for key in touched):
            assert good_units(translator) == undisturbed, text[:300]
        good = {unit: item for unit, item in good_units(translator).items() if unit.key.name == "good"}
        if Key("Namespace", "", "app") not in touched:
            assert good == {unit: item for unit, item in undisturbed.items() if unit.key.name == "good"}, text[:300]
    assert problems_seen > 400
    assert conditions_seen > 20


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
    translator = Translator(World(), Options("here"))
    changes, problems = read(GOOD + "---\n" + WEB + "\n---" + routes)
    translator.update(changes)
    assert not problems
    keys = [Key("HTTPRoute", "app", name) for name in ("good", "web")]
    assert [told(translator, key) for key in keys] == [0, 0]
    assert all(any(item.statuses.get(key) for item in translator.fragments.values()) for key in keys)
