"""Whether the nodes encrypt, as the XMesh says it: from WeftNodes as stored to its status."""

import json
from typing import Any

import pytest

from agent.controller.encryption import NAMED, NO_KEY, NO_REPORT, encryption_condition
from agent.controller.node_reports import NodeReports, report_collection
from agent.controller.status_store import StatusStore
from agent.controller.stored import MESH, MESH_VERSION, decode_stored
from agent.ir.plan import Output
from agent.model.change import Delete, Problem, Upsert
from agent.model.meta import CONTROLLER_NAME, Key, ObjectMeta
from agent.model.parameters import MeshEncryption, MeshSpec, XMesh
from agent.model.weft_node import KIND, Tunnels
from agent.translate.mesh_status import translate_mesh_status
from support.translate import view_of

NOW = "2026-01-01T00:00:00Z"
STRICT, OFF = MeshEncryption("Strict", ("10.244.0.0/16",)), MeshEncryption("Off")
KEY = {"generation": 1, "publicKey": "k", "port": 51872}
NO_WIREGUARD = "the kernel has no WireGuard"


def report(reports: NodeReports, name: str, tunnels: dict[str, Any] | None) -> None:
    body = {"metadata": {"name": name}, "status": {"tunnels": tunnels} if tunnels is not None else {}}
    found = report_collection().read(json.dumps(body).encode(), name)
    assert not isinstance(found, Problem)
    reports.update(Upsert(found[0]))


class Mesh:
    """An XMesh that is written until it is up to date."""

    def __init__(self) -> None:
        self.reports, self.encryption = NodeReports(), STRICT
        self._store = StatusStore("weft", self.reports, lambda: self.encryption)
        found = XMesh(ObjectMeta("weft", generation=2), MeshSpec(CONTROLLER_NAME))
        self._store.set_desired([(Output(), translate_mesh_status(view_of(found), found.key))])
        self._status: dict[str, Any] = {}
        self._version = 1

    def conditions(self) -> dict[str, tuple[str, str, str, int]]:
        meta = {"name": "weft", "resourceVersion": str(self._version), "generation": 2}
        body = {"apiVersion": MESH_VERSION, "kind": MESH, "metadata": meta, "spec": {"controllerName": CONTROLLER_NAME}}
        target = self._store.store(decode_stored(json.dumps(body | {"status": self._status}).encode()))
        if (write := self._store.write(target, NOW)) is not None:
            self._status = dict(write.body["status"])
            self._version += 1
        return {
            it["type"]: (it["status"], it["reason"], it["message"], it["observedGeneration"])
            for it in self._status["conditions"]
        }


def test_nodes_that_do_not_encrypt_are_named_until_they_do() -> None:
    mesh = Mesh()
    assert mesh.conditions()["Encrypted"] == ("False", "NoNodes", "Mode Strict: no node reports", 2)
    report(mesh.reports, "n1", {"keys": [KEY], "sending": [1]})
    report(mesh.reports, "n2", {"keys": [], "sending": [], "unsupported": NO_WIREGUARD})
    report(mesh.reports, "n3", None)
    report(mesh.reports, "n4", {"keys": [], "sending": []})
    text = f"Mode Strict: 3 of 4 nodes do not encrypt: n2: {NO_WIREGUARD}; n3: {NO_REPORT}; n4: {NO_KEY}"
    assert mesh.conditions()["Encrypted"] == ("False", "NodesNotEncrypted", text, 2)
    report(mesh.reports, "n3", {"keys": [KEY], "sending": []})
    for name in ("n2", "n4"):
        mesh.reports.update(Delete(Key(KIND, "", name)))
    text = "Mode Strict: all 2 nodes that report have tunnels"
    assert mesh.conditions()["Encrypted"] == ("True", "Encrypted", text, 2)
    mesh.encryption = OFF
    assert set(mesh.conditions()) == {"Accepted"}


def test_a_message_is_bounded_and_what_nodes_write_is_escaped() -> None:
    lacking = {f"n{number:03}": Tunnels(unsupported="\x1b[31m" + "x" * 5000) for number in range(500)}
    found = encryption_condition(STRICT, lacking, 1)
    assert found is not None
    assert "\x1b" not in found.message
    assert len(found.message) < 600 * NAMED
    assert found.message.endswith("; and 490 more")


@pytest.mark.parametrize("mode", ["Pods", "Strict"])
def test_the_mode_is_said(mode: Any) -> None:
    found = encryption_condition(MeshEncryption(mode), {"n1": None}, 1)
    assert found is not None
    assert found.message.startswith(f"Mode {mode}: 1 of 1 nodes")
