"""A bug that reading one object trips is a problem of that object: its last good state stays, others come in."""

from pathlib import Path
from typing import Any

import pytest

from agent.internal_errors import InternalErrors
from agent.kube import collection as collections
from agent.kube import manifest_file
from agent.kube.collection import collection
from agent.kube.directory_source import DirectorySource
from agent.kube.reflector import Reflector
from agent.model.change import Problem, Resolved, Upsert
from support.fakes.watch import event, item, page, texts


def test_an_object_of_a_watch_that_trips_a_bug_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = InternalErrors(strict=False)
    reflector = Reflector(collection("Namespace"), errors)
    reflector.page(page(item("one", 3), item("two", 4)))
    real = collections.decode_json

    def broken(raw: bytes, kind: str, where: str) -> Any:
        if where == "namespaces/one":
            raise KeyError("a bug")
        return real(raw, kind, where)

    with monkeypatch.context() as patch:
        patch.setattr(collections, "decode_json", broken)
        assert texts(reflector.event(event("MODIFIED", item("one", 11, a="b")))) == ["problem namespaces/one"]
        assert texts(reflector.event(event("MODIFIED", item("two", 12, a="b")))) == ["+two"]
        assert [(item.part, item.subject) for item in errors.listed()] == [("decode", "namespaces/one")]
    assert texts(reflector.event(event("MODIFIED", item("one", 13, a="b")))) == ["+one", "resolved namespaces/one"]
    assert errors.listed() == []


def test_an_object_that_trips_a_bug_and_goes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = InternalErrors(strict=False)
    reflector = Reflector(collection("Namespace"), errors)
    reflector.page(page(item("one", 3)))
    with monkeypatch.context() as patch:
        patch.setattr(collections, "decode_json", lambda *_: 1 / 0)
        reflector.event(event("MODIFIED", item("one", 11)))
    assert texts(reflector.event(event("DELETED", item("one", 12)))) == ["-one", "resolved namespaces/one"]
    assert errors.listed() == []


def test_a_document_that_trips_a_bug_leaves_what_it_gave_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}, labels: {{a: {}}}}}\n"
    file = tmp_path / "a.yaml"
    file.write_text(text.format("one", "x") + "---\n" + text.format("two", "x"))
    errors = InternalErrors(strict=False)
    source = DirectorySource(tmp_path, errors)
    assert len(source.read()) == 2
    real = manifest_file.decode_all

    def broken(document: Any, where: str) -> Any:
        if document["metadata"]["name"] == "one":
            raise KeyError("a bug")
        return real(document, where)

    with monkeypatch.context() as patch:
        patch.setattr(manifest_file, "decode_all", broken)
        file.write_text(text.format("one", "yy") + "---\n" + text.format("two", "yy"))
        changes = source.read()
    assert [change.value.key.name for change in changes if isinstance(change, Upsert)] == ["two"]
    (problem,) = [change for change in changes if isinstance(change, Problem)]
    assert "internal error" in problem.message
    assert [(item.part, item.subject) for item in errors.listed()] == [("decode", problem.where)]
    file.write_text(text.format("one", "zzz") + "---\n" + text.format("two", "yy"))
    assert [type(change) for change in source.read()] == [Upsert, Resolved]
    assert errors.listed() == []


def test_tests_are_stopped_by_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collections, "decode_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Reflector(collection("Namespace")).page(page(item("one", 3)))
