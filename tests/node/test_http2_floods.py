"""A pod that floods the waypoint with frames of HTTP/2 costs other pods none of their requests."""

import json
import sys
from pathlib import Path

import pytest

from support.node.lab_handle import ECHO_TO_V1, LabFactory, LabHandle
from support.node.mesh import OTHER_CLIENT, settle
from support.node.programs import PROGRAMS, echo, steady_requests

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    """Service echo goes through the waypoint for pods of app and other."""
    lab = make_lab("flood", [Path(__file__).with_name("routes.yaml")], agent=True)
    lab.apply(ECHO_TO_V1.read_text())
    settle(lab, lambda status: len(status["waypoint"]["listeners"]) == 1)
    return lab


@pytest.mark.parametrize(("kind", "count"), [("reset", 20_000), ("bomb", 500), ("ping", 50_000)])
def test_all_requests_of_others_are_answered(mesh: LabHandle, kind: str, count: int) -> None:
    envoy = mesh.status()["waypoint"]
    with steady_requests(mesh) as seen:
        flood = mesh.exec(OTHER_CLIENT, sys.executable, str(PROGRAMS / "flood.py"), echo(mesh), "80", kind, str(count))
    sent = json.loads(flood.stdout)
    print(kind, sent, seen["requests"], seen["failed"][:5])
    assert seen["failed"] == []
    assert seen["requests"] > 0
    assert sent["sent"] > count / 10
    assert mesh.status()["waypoint"]["addresses"] == envoy["addresses"]
