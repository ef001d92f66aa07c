"""The lab's API server: one JSON file for each object in a directory, changed under a lock.

An object that cannot be read, or of a kind that the lab does not know, is stored as it is: the agent reports it.
"""

import fcntl
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml

from agent import atomic_file
from agent.kube.lists import flattened
from agent.lab.paths import LabPaths
from agent.model import core, discovery, multicluster
from agent.model.change import Problem
from agent.model.meta import Key

Object: TypeAlias = dict[str, Any]
Objects: TypeAlias = dict[Key, Object]

CLUSTER_SCOPED = frozenset({"Namespace", "GatewayClass", "Node", "ServiceCIDR", "XMesh", "MeshParameters"})
KINDS = CLUSTER_SCOPED | {
    *("Deployment", "EndpointSlice", "Pod", "Service", "ServiceAccount", "ConfigMap", "Secret"),
    *("HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute", "TLSRoute", "ReferenceGrant", "ServiceImport"),
    "AuthorizationPolicy",
}


def key_of(item: Object) -> Key:
    """The object's identity; a missing namespace is `default`, as kubectl has it."""
    kind, metadata = item["kind"], item["metadata"]
    namespace = "" if kind in CLUSTER_SCOPED else metadata.get("namespace") or "default"
    return Key(kind, namespace, metadata["name"])


def parse(text: str) -> Iterator[Object | str]:
    """The objects of a YAML (or JSON) stream, also those in lists; of what is none that the lab knows, the text."""
    for document in _split(text):
        try:
            found = yaml.load(document, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError:
            yield document
            continue
        if found is None:
            continue
        for _, item in flattened(found, ""):
            if item is found or isinstance(item, Problem):
                yield found if _is_known(found) else document
            else:
                yield item if _is_known(item) else json.dumps(item, default=str)


def _split(text: str) -> list[str]:
    """Documents are split before they are parsed: a broken one must not take the next with it."""
    documents: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.rstrip() == "---":
            documents.append([])
        else:
            documents[-1].append(line)
    return ["\n".join(lines) + "\n" for lines in documents if any(line.strip() for line in lines)]


def _is_known(item: Any) -> bool:
    try:
        key = key_of(item)
        _check(item)
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError):
        return False
    names = (key.namespace or "x", key.name)
    return key.kind in KINDS and all(isinstance(name, str) and name and "/" not in name for name in names)


def _check(item: Any) -> None:
    """Raise one of several errors if the lab itself could not work with the object; Routes are the agent's to judge."""
    match item["kind"]:
        case "Service":
            dict(item["spec"])
            msgspec.convert(item, core.Service)
        case "ServiceImport":
            msgspec.convert(item, multicluster.ServiceImport)
        case "EndpointSlice":
            msgspec.convert(item, discovery.EndpointSlice)
        case "Deployment":
            [container["name"] for container in item["spec"]["template"]["spec"]["containers"]]
        case "Pod":
            [container["name"] for container in item["spec"]["containers"]]


class Store:
    """The objects of one lab. Each method is one transaction; use `locked` to make several one."""

    def __init__(self, paths: LabPaths) -> None:
        self._folder = paths.manifests
        self._lock = paths.store_lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; not re-entrant."""
        with self._lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def load(self) -> Objects:
        """Every object that can be read."""
        found: Objects = {}
        for file in sorted(self._folder.glob("*.json")):
            with suppress(FileNotFoundError):
                item = msgspec.json.decode(file.read_bytes())
                found[key_of(item)] = item
        return found

    def save(self, before: Objects, after: Objects) -> bool:
        """Write what differs, remove what is gone; the caller holds the lock. Says whether anything changed."""
        for key in before.keys() - after.keys():
            self._file(key).unlink(missing_ok=True)
        changed = [key for key, item in after.items() if before.get(key) != item]
        for key in changed:
            atomic_file.replace(self._file(key), msgspec.json.format(msgspec.json.encode(after[key]), indent=1))
        return bool(changed) or bool(before.keys() - after.keys())

    def apply(self, text: str) -> list[str]:
        """Create or change what a manifest names; returns a line for each document."""
        with self.locked():
            before = self.load()
            after = dict(before)
            lines = [self._apply_one(after, document) for document in parse(text)]
            self.save(before, after)
        return lines

    def _apply_one(self, objects: Objects, document: Object | str) -> str:
        if isinstance(document, str):
            file = self._broken(document)
            atomic_file.replace(file, document.encode())
            return f"{file.name}: stored unchanged: the lab does not support this kind"
        key = key_of(document)
        present = objects.get(key)
        objects[key] = merged(present, document)
        return f"{key} {'created' if present is None else 'configured'}"

    def delete(self, text: str) -> list[str]:
        """Remove what a manifest names; absence is success."""
        with self.locked():
            before = self.load()
            after = dict(before)
            for document in parse(text):
                if isinstance(document, str):
                    self._broken(document).unlink(missing_ok=True)
                else:
                    after.pop(key_of(document), None)
            self.save(before, after)
        return [f"{key} deleted" for key in before.keys() - after.keys()]

    def label(self, key: Key, changes: Iterable[str]) -> None:
        """Set (`key=value`) or remove (`key-`) labels. Raises KeyError when there is no such object."""
        with self.locked():
            before = self.load()
            labels = dict(before[key]["metadata"].get("labels", {}))
            for change in changes:
                name, equals, value = change.partition("=")
                if equals:
                    labels[name] = value
                else:
                    labels.pop(name.removesuffix("-"), None)
            metadata = {**before[key]["metadata"], "labels": labels}
            self.save(before, {**before, key: {**before[key], "metadata": metadata}})

    def _file(self, key: Key) -> Path:
        return self._folder / f"{key.kind}.{key.namespace}.{key.name}.json"

    def _broken(self, text: str) -> Path:
        return self._folder / f"broken-{hashlib.sha256(text.encode()).hexdigest()[:10]}.yaml"


def merged(present: Object | None, wanted: Object) -> Object:
    """A manifest over the object that is there: what the API server allocated stays, and so does the status.
    A new object keeps the uid of its manifest: the lab can run pods that a real API server has.
    """
    key = key_of(wanted)
    old = present or {}
    spec = dict(wanted.get("spec") or {})
    for name in _allocated(key.kind):
        if name in old.get("spec", {}):
            spec.setdefault(name, old["spec"][name])
    stamps = old.get("metadata") or {
        "uid": wanted["metadata"].get("uid") or str(uuid.uuid4()),
        "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    same = old.get("spec", {}) == spec
    kept = {name: stamps[name] for name in ("uid", "creationTimestamp", "ownerReferences") if name in stamps}
    metadata = {
        **wanted["metadata"],
        **({"namespace": key.namespace} if key.namespace else {}),
        **kept,
        "generation": stamps.get("generation", 0) + (not same or present is None),
    }
    result = {**wanted, "metadata": metadata}
    if spec:
        result["spec"] = spec
    if "status" in old:
        result["status"] = old["status"]
    return result


def _allocated(kind: str) -> tuple[str, ...]:
    return {"Service": ("clusterIP", "clusterIPs", "ipFamilies"), "Pod": ("nodeName",)}.get(kind, ())
