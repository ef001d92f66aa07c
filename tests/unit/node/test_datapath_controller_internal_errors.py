"""A bug that one object trips does not end the loop: other objects get to the kernel, and `weft status` names it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.datapath.frontends import frontend_key
from agent.internal_errors import InternalErrors
from agent.ir.plan import FrontendName
from agent.ir.tables import Mode, Protocol
from agent.model.change import Upsert
from agent.model.facts import PodCgroup
from agent.node import status
from agent.node.status import Envoys
from agent.translate import incremental
from support.fakes.kernel import FakeKernel
from support.fakes.node import NAME, SECOND, SERVICE, Node, upserts

OTHER = FrontendName("10.96.0.2", 80, Protocol.TCP)
MOVED = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: app, labels: {kubernetes.io/service-name: web}}
ports: [{port: 8080, name: http}]
endpoints: [{addresses: [10.1.0.77]}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: app, uid: u-2}
spec: {nodeName: here}
status: {phase: Running, podIP: 10.1.0.2}
"""


@pytest.fixture
def errors() -> InternalErrors:
    return InternalErrors(strict=False)


@pytest.fixture
async def lenient(errors: InternalErrors) -> AsyncIterator[Node]:
    made = Node(FakeKernel(), errors=errors)
    yield made
    await made.kill()


async def test_the_loop_goes_on_when_a_service_trips_a_bug(
    lenient: Node, errors: InternalErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lenient.synced()
    before = lenient.action(Mode.L4)
    real = incremental.translate_service

    def broken(view: Any, key: Any, options: Any) -> Any:
        if key == SERVICE:
            raise KeyError("a bug")
        return real(view, key, options)

    monkeypatch.setattr(incremental, "translate_service", broken)
    lenient.manifests.send(*upserts(MOVED), *upserts(SECOND), *upserts(POD))
    lenient.facts.send(Upsert(PodCgroup("u-2", 43)))
    await lenient.until(lambda: lenient.kernel.reach(frontend_key(OTHER), Mode.L4))
    await lenient.until(lambda: 43 in lenient.kernel.pods.rows)
    assert lenient.action(Mode.L4) == before
    assert lenient.controller.ready
    assert [(item.part, item.subject) for item in errors.listed()] == [("service", str(SERVICE))]
    monkeypatch.setattr(incremental, "translate_service", real)
    lenient.manifests.send(*upserts(MOVED.replace("10.1.0.77", "10.1.0.78")))
    await lenient.until(lambda: lenient.action(Mode.L4) != before)
    assert errors.listed() == []


@pytest.mark.parametrize(
    ("function", "part", "listed"), [("_pod", "pod status", "pods"), ("_route", "route status", "routes")]
)
async def test_status_shows_the_others_when_one_trips_a_bug(
    function: str, part: str, listed: str, lenient: Node, errors: InternalErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lenient.synced()
    lenient.manifests.send(*upserts(POD))
    lenient.facts.send(Upsert(PodCgroup("u-2", 43)))
    await lenient.until(lambda: 43 in lenient.kernel.pods.rows)

    def document() -> dict[str, Any]:
        return status.status(lenient.controller, "here", Envoys({}, [], [], {}), errors)

    whole = document()
    real = getattr(status, function)

    def broken(name: Any, item: Any) -> Any:
        if name == 42 or getattr(name, "name", "") == "web":
            raise KeyError("a bug")
        return real(name, item)

    with monkeypatch.context() as patch:
        patch.setattr(status, function, broken)
        shown = document()
    assert shown == whole | {listed: whole[listed][1:]}
    assert [item.part for item in errors.listed()] == [part]
    assert document() == whole
    assert errors.listed() == []


async def test_frontends_are_shown_when_one_trips_a_bug(
    lenient: Node, errors: InternalErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lenient.synced()
    lenient.manifests.send(*upserts(SECOND))
    await lenient.until(lambda: lenient.kernel.reach(frontend_key(OTHER), Mode.L4))
    datapath, real = lenient.controller.datapath, status._frontend

    def broken(name: Any, *rest: Any) -> Any:
        if name == NAME:
            raise KeyError("a bug")
        return real(name, *rest)

    monkeypatch.setattr(status, "_frontend", broken)
    (shown,) = status.frontends(datapath.desired, datapath.installed, errors)
    assert shown["frontend"] == str(OTHER)
    assert [(item.part, item.subject) for item in errors.listed()] == [("frontend status", str(NAME))]
    assert status.frontends({}, {}, errors) == []
    assert errors.listed() == []
