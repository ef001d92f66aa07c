"""Policies that cannot be decoded: what is wrong with them, and that none of them counts as absent."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.internal_errors import InternalErrors
from agent.kube import collection as collections
from agent.kube import manifest_file
from agent.kube.collection import collection
from agent.kube.decode import decode
from agent.kube.directory_source import DirectorySource
from agent.kube.reflector import Reflector
from agent.model.authorization import KIND, AuthorizationPolicy, LabelSelector, UndecodableAuthorizationPolicy
from agent.model.change import Change, Delete, Problem, Resolved, Upsert
from agent.model.core import Pod
from agent.model.meta import Key, ObjectMeta
from agent.store.store import Store, TrackedView
from agent.translate.policies import policies_of
from support.policies import (
    BAD_HTTP,
    POLICY,
    WEB,
    application_document,
    from_account,
    from_spiffe,
    http,
    policy_document,
)

RULE = "spec.rules[0]"
TARGET = "spec.targetRefs[0]"
GOOD = from_account("client")
BAD: list[tuple[Any, str]] = [
    (policy_document({"sources": []}), f"{RULE}.sources"),
    (policy_document({"sources": None}), f"{RULE}.sources"),
    (policy_document({"sources": [GOOD] * 65}), f"{RULE}.sources"),
    (policy_document(*[{}] * 17), "spec.rules"),
    (policy_document({"networkAttributes": {"ports": []}}), f"{RULE}.networkAttributes.ports"),
    (policy_document({"networkAttributes": {"ports": None}}), f"{RULE}.networkAttributes.ports"),
    (policy_document({"networkAttributes": {"ports": [0]}}), f"{RULE}.networkAttributes.ports[0]"),
    (policy_document({"networkAttributes": {"ports": [1] * 17}}), f"{RULE}.networkAttributes.ports"),
    (policy_document({"networkAttributes": {"protocol": "UDP"}}), f"{RULE}.networkAttributes"),
    (policy_document({"httpAttributes": {}}), f"{RULE}.httpAttributes"),
    (application_document({"httpAttributes": None}), f"{RULE}.httpAttributes"),
    (application_document(http(headers=[("x", "y"), ("X", "y")])), f"{RULE}.httpAttributes.headers[1]"),
    *((application_document(rule), f"{RULE}.{field}") for rule, field in BAD_HTTP),
    (policy_document({"sources": [{"type": "ServiceAccount"}]}), f"{RULE}.sources[0].serviceAccount"),
    (policy_document({"sources": [{"type": "SPIFFE"}]}), f"{RULE}.sources[0].spiffe"),
    (policy_document({"sources": [{**GOOD, "type": "SPIFFE"}]}), f"{RULE}.sources[0].serviceAccount"),
    (policy_document({"sources": [{**GOOD, "spiffe": "spiffe://a/b"}]}), f"{RULE}.sources[0].spiffe"),
    (policy_document({"sources": [{**GOOD, "type": "IPBlock"}]}), f"{RULE}.sources[0].type"),
    (policy_document({"sources": [from_account("a*")]}), f"{RULE}.sources[0].serviceAccount.name"),
    (policy_document({"sources": [from_account("a", "*")]}), f"{RULE}.sources[0].serviceAccount.namespace"),
    (policy_document({"sources": [from_account("a", "b.c")]}), f"{RULE}.sources[0].serviceAccount.namespace"),
    *(
        (policy_document({"sources": [from_spiffe(uri)]}), f"{RULE}.sources[0].spiffe")
        for uri in ("https://a/b", "spiffe://a", "spiffe://a/ns/b/sa/*", "spiffe://A/b", f"spiffe://a/{'b' * 2048}")
    ),
    (policy_document(action="DENY"), "spec.action"),
    (policy_document(enforcementLevel="Application"), f"{TARGET}.kind"),
    (policy_document(enforcementLevel="Kernel"), "spec.enforcementLevel"),
    (application_document(enforcementLevel="Network"), f"{TARGET}.kind"),
    (application_document(service="a.b"), f"{TARGET}.name"),
    (application_document(targetRefs=[{"kind": "Service"}]), f"{TARGET}.name"),
    (application_document(targetRefs=[{"kind": "Service", "name": "a", "selector": {}}]), f"{TARGET}.selector"),
    (policy_document(targetRefs=[]), "spec.targetRefs"),
    (policy_document(targetRefs=[{"kind": "Pod", "selector": {}}] * 2), "spec.targetRefs"),
    (policy_document(targetRefs=[{"kind": "Service", "name": "a", "selector": {}}]), f"{TARGET}.kind"),
    (policy_document(targetRefs=[{"kind": "Pod", "group": "apps", "selector": {}}]), f"{TARGET}.group"),
    (policy_document(targetRefs=[{"kind": "Pod"}]), f"{TARGET}.selector"),
    (policy_document(targetRefs=[{"kind": "Node", "selector": {}}]), f"{TARGET}.kind"),
    (policy_document(targetRefs=[{"kind": "Pod", "selector": None}]), f"{TARGET}.selector"),
    (policy_document(selector={"matchExpression": []}), f"{TARGET}.selector"),
    (policy_document(selector={"matchLabels": {"a" * 318: ""}}), f"{TARGET}.selector.matchLabels"),
    (policy_document(selector={"matchLabels": {"a": "b" * 64}}), f"{TARGET}.selector.matchLabels"),
    (policy_document(selector={"matchLabels": {f"a{n}": "" for n in range(65)}}), f"{TARGET}.selector.matchLabels"),
    *(
        (policy_document(selector={"matchExpressions": [item]}), f"{TARGET}.selector.matchExpressions[0].{field}")
        for item, field in (
            ({"key": "a", "operator": "In"}, "values"),
            ({"key": "a", "operator": "NotIn", "values": []}, "values"),
            ({"key": "a", "operator": "Exists", "values": ["b"]}, "values"),
            ({"key": "a", "operator": "Gt", "values": ["1"]}, "operator"),
            ({"key": "", "operator": "Exists"}, "key"),
            ({"key": "a", "operator": "In", "values": ["b" * 64]}, "values[0]"),
            ({"key": "a", "operator": "In", "values": ["b"] * 65}, "values"),
        )
    ),
    ({**policy_document(), "spec": None}, "spec"),
    ({**policy_document(), "spec": {}}, "spec"),
]


@pytest.mark.parametrize(("document", "field"), BAD)
def test_a_bad_policy_is_told_with_its_field_and_is_still_known(document: Any, field: str) -> None:
    (problem,) = decode(document, "here")
    assert isinstance(problem, Problem)
    assert (problem.subject, problem.field) == ("AuthorizationPolicy app/p", field)
    (fact,) = problem.facts
    assert isinstance(fact, UndecodableAuthorizationPolicy)
    assert (fact.policy, fact.field, fact.message) == (POLICY, field, problem.message)
    sent = collection(KIND).read(json.dumps(document).encode(), "here")
    assert isinstance(sent, Problem)
    assert (sent.field, sent.facts) == (field, problem.facts)


def fact_of(document: Any) -> UndecodableAuthorizationPolicy:
    (problem,) = decode(document, "here")
    assert isinstance(problem, Problem)
    (fact,) = problem.facts
    assert isinstance(fact, UndecodableAuthorizationPolicy)
    return fact


def test_the_selector_is_known_where_it_can_be_decoded() -> None:
    assert fact_of(policy_document(selector=WEB, action="DENY")).selectors == (LabelSelector({"app": "web"}),)
    both = [{"kind": "Pod", "selector": WEB}, {"kind": "Pod", "selector": {}}]
    assert fact_of(policy_document(targetRefs=both)).selectors == (LabelSelector({"app": "web"}), LabelSelector())


def test_the_service_is_known_where_it_can_be_decoded() -> None:
    found = fact_of(application_document(action="DENY"))
    assert (found.selectors, found.services, found.is_application) == ((), (Key("Service", "app", "web"),), True)


@pytest.mark.parametrize(
    "refs",
    [
        None,
        7,
        {},
        [],
        [7],
        [{"kind": "Pod"}],
        [{"kind": "Service"}],
        [{"kind": "Pod", "selector": WEB}, {"kind": "Node"}],
    ],
)
def test_without_all_of_its_selectors_it_selects_every_pod(refs: Any) -> None:
    assert fact_of(policy_document(targetRefs=refs, action="DENY")).selectors is None


def test_another_version_of_the_kind_is_undecodable_too() -> None:
    assert fact_of({**policy_document(), "apiVersion": "weft.dev/v2"}).field == "apiVersion"


def test_policies_of_other_groups_are_not_decoded() -> None:
    assert list(decode({**policy_document(), "apiVersion": "security.istio.io/v1"}, "here")) == []


@pytest.mark.parametrize("metadata", [None, 7, {}, {"name": 7, "namespace": "app"}])
def test_what_has_no_name_is_no_policy(metadata: Any) -> None:
    (problem,) = decode({**policy_document(), "metadata": metadata}, "here")
    assert isinstance(problem, Problem)
    assert problem.facts == ()


def test_what_is_no_json_has_no_facts() -> None:
    found = collection(KIND).read(b"{", "here")
    assert isinstance(found, Problem)
    assert found.facts == ()


def listed(*documents: Any) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "1"}, "items": documents}).encode()


def event(what: str, document: Any) -> bytes:
    return json.dumps({"type": what, "object": document}).encode()


class Node:
    """A reflector and the store behind it."""

    def __init__(self) -> None:
        self.reflector = Reflector(collection(KIND))
        self.store = Store()

    def take(self, changes: list[Change]) -> None:
        self.store.apply(changes)

    def allowed(self, **labels: str) -> list[tuple[str, int]]:
        """The policies of a pod with these labels: their names and how many rules they have."""
        pod = Pod(ObjectMeta("a", "app", labels=labels))
        return [(policy.key.name, len(policy.rules)) for policy in policies_of(TrackedView(self.store), pod)]


def test_a_policy_that_becomes_undecodable_stays_as_it_was() -> None:
    node = Node()
    node.take(node.reflector.page(listed(policy_document({"sources": [GOOD]}, selector=WEB))))
    node.take(node.reflector.event(event("MODIFIED", policy_document(action="DENY"))))
    assert (node.allowed(app="web"), node.allowed()) == ([("p", 1)], [])
    node.take(node.reflector.event(event("MODIFIED", policy_document({}, {}))))
    assert node.allowed() == [("p", 2)]
    node.take(node.reflector.event(event("DELETED", policy_document())))
    assert node.allowed() == []


def test_a_policy_that_was_never_decoded_refuses_all_clients_of_the_pods_it_selects() -> None:
    node = Node()
    node.take(node.reflector.page(listed(policy_document(selector=WEB, action="DENY"))))
    assert (node.allowed(app="web"), node.allowed()) == ([("p", 0)], [])
    node.take(node.reflector.event(event("MODIFIED", policy_document(targetRefs=7))))
    assert node.allowed() == [("p", 0)]
    node.take(node.reflector.event(event("DELETED", policy_document())))
    assert node.allowed(app="web") == []


def test_a_directory_s_undecodable_policies_are_facts_too(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    source = DirectorySource(tmp_path)

    def read(document: Any) -> list[Change]:
        file.write_text(json.dumps(document, indent=len(json.dumps(document))))
        return source.read()

    fact, problem = read(policy_document(action="DENY"))
    assert isinstance(fact, Upsert)
    assert isinstance(fact.value, UndecodableAuthorizationPolicy)
    assert isinstance(problem, Problem)
    assert (source.location(fact.value.key), problem.facts) == (f"{file}:1", ())
    delete, good, resolved = read(policy_document())
    assert delete == Delete(fact.value.key)
    assert isinstance(good, Upsert)
    assert isinstance(good.value, AuthorizationPolicy)
    assert isinstance(resolved, Resolved)
    again, _ = read(policy_document(enforcementLevel="Application"))
    assert isinstance(again, Upsert)
    assert again.value.key == fact.value.key


def test_a_bug_that_stops_reading_a_policy_does_not_make_it_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    errors = InternalErrors(strict=False)
    (tmp_path / "policy.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy_document()]})
    )
    monkeypatch.setattr(collections, "decode_json", lambda *_: 1 / 0)
    monkeypatch.setattr(manifest_file, "decode_all", lambda *_: 1 / 0)
    for changes in (
        Reflector(collection(KIND), errors).page(listed(policy_document(selector=WEB))),
        DirectorySource(tmp_path, errors).read(),
    ):
        fact, problem = changes
        assert isinstance(fact, Upsert)
        assert isinstance(fact.value, UndecodableAuthorizationPolicy)
        assert fact.value.policy == POLICY
        assert isinstance(problem, Problem)
        assert "internal error" in problem.message


def test_the_namespace_of_a_manifest_without_one_is_the_default() -> None:
    document = policy_document(action="DENY")
    del document["metadata"]["namespace"]
    assert fact_of(document).policy.namespace == "default"
