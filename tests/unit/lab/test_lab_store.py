"""The lab's store of objects, on real files."""

import threading

import pytest

from agent.lab import paths
from agent.lab.store import Store
from agent.model.meta import Key

SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}\n"
WEB = Key("Service", "default", "web")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    where = paths.LabPaths("s")
    where.manifests.mkdir(parents=True)
    return Store(where)


def files(tmp_path):
    return sorted(file.name for file in (tmp_path / "s" / "manifests").iterdir())


def test_one_file_for_each_object_named_by_its_key(store, tmp_path):
    assert store.apply(SERVICE) == ["Service default/web created"]
    assert store.apply(SERVICE) == ["Service default/web configured"]
    assert files(tmp_path) == ["Service.default.web.json"]
    metadata = store.load()[WEB]["metadata"]
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"].endswith("Z")


def test_what_does_not_parse_is_kept_and_removed_word_for_word(store, tmp_path):
    store.apply(f"{SERVICE}---\nkind: [torn\n")
    assert files(tmp_path)[1].startswith("broken-")
    assert (tmp_path / "s" / "manifests" / files(tmp_path)[1]).read_text() == "kind: [torn\n"
    store.delete(f"{SERVICE}---\nkind: [torn\n")
    assert files(tmp_path) == []


def test_an_object_that_did_not_change_is_not_written(store, tmp_path):
    store.apply(SERVICE)
    file = tmp_path / "s" / "manifests" / "Service.default.web.json"
    before = file.stat().st_ino
    store.apply(SERVICE)
    assert file.stat().st_ino == before


def test_a_new_object_has_the_uid_of_its_manifest_and_keeps_it(store):
    store.apply(SERVICE.replace("name: web", "name: web, uid: first"))
    store.apply(SERVICE.replace("name: web", "name: web, uid: second"))
    assert store.load()[WEB]["metadata"]["uid"] == "first"


def test_a_label_changes_no_generation(store):
    store.apply(SERVICE)
    store.label(WEB, ["a=1", "b=2"])
    store.label(WEB, ["a-", "not-there-"])
    metadata = store.load()[WEB]["metadata"]
    assert (metadata["labels"], metadata["generation"]) == ({"b": "2"}, 1)
    with pytest.raises(KeyError):
        store.label(Key("Service", "default", "nobody"), ["a=1"])


def test_writers_take_turns(store):
    store.apply(SERVICE)

    def add(number):
        for step in range(20):
            store.label(WEB, [f"l{number}-{step}=x"])

    writers = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(store.load()[WEB]["metadata"]["labels"]) == 80


def test_a_list_is_its_items(store, tmp_path):
    text = "apiVersion: v1\nkind: List\nitems:\n- {}- {{kind: List, apiVersion: v1, items: [{{kind: Odd, n: 1}}]}}\n"
    printed = store.apply(text.format(SERVICE))
    assert printed[0] == "Service default/web created"
    assert printed[1].endswith("the lab does not support this kind")
    assert files(tmp_path)[1].startswith("broken-")
    broken = tmp_path / "s" / "manifests" / files(tmp_path)[1]
    assert broken.read_text() == '{"kind": "Odd", "n": 1}'
    store.delete(text.format(SERVICE))
    assert files(tmp_path) == []


@pytest.mark.parametrize("text", ["{apiVersion: v1, kind: List}\n", "{apiVersion: v1, kind: List, items: []}\n"])
def test_an_empty_list_is_nothing(store, tmp_path, text):
    assert (store.apply(text), files(tmp_path)) == ([], [])


@pytest.mark.parametrize("text", ["{apiVersion: v1, kind: List, items: 7}\n", "{kind: List, items: []}\n"])
def test_a_list_that_cannot_be_read_is_kept_for_the_agent_to_report(store, tmp_path, text):
    assert store.apply(text)[0].endswith("the lab does not support this kind")
    assert files(tmp_path)[0].startswith("broken-")


def test_a_server_s_list_gives_its_items_their_kind(store):
    text = "{apiVersion: v1, kind: ServiceList, items: [{metadata: {name: web}, spec: {ports: [{port: 80}]}}]}\n"
    assert store.apply(text) == ["Service default/web created"]
