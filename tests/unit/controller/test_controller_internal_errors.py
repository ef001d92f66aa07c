"""A bug that one Route trips stops neither the controller nor what it writes of others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from agent.controller import run
from agent.controller.node_reports import NodeReport, RejectedRoute
from agent.controller.run import Controller
from agent.controller.stored import ROUTES, decode_stored
from agent.controller.writer import Writer
from agent.internal_errors import InternalErrors
from agent.kube.client import ApiServer
from agent.kube.kubernetes_source import KubernetesSource
from agent.model.change import Change, Synced, Upsert
from agent.model.meta import Key
from agent.settings import ControllerSettings
from agent.telemetry.internal_errors import STRICT

GOOD, BAD = Key("HTTPRoute", "app", "good"), Key("HTTPRoute", "app", "bad")


class Books:
    """A store that fails for one object while there is a bug, and has nothing to write for the others."""

    def __init__(self) -> None:
        self.bug = True
        self.written: list[Key] = []

    def write(self, target: Key, _now: str) -> None:
        self.written.append(target)
        if self.bug and target == BAD:
            raise KeyError("a bug")

    def path(self, target: Key) -> None: ...
    def update_from_response(self, raw: bytes) -> None: ...
    def forget(self, target: Key) -> None: ...


async def test_a_writer_goes_on_with_the_others_and_tries_again_when_something_changed() -> None:
    books, errors = Books(), InternalErrors(strict=False)
    writer = Writer(cast(ApiServer, None), books, lambda: True, lambda *_: None, errors)
    running = asyncio.create_task(writer.run())
    async with asyncio.timeout(30):
        writer.touch([BAD, GOOD])
        while len(books.written) < 2 or not errors.listed():
            await asyncio.sleep(0.01)
        assert [(item.part, item.subject) for item in errors.listed()] == [("write", str(BAD))]
        writer.touch([GOOD])
        while len(books.written) < 3:
            await asyncio.sleep(0.01)
        assert sorted(books.written) == [BAD, GOOD, GOOD]
        books.bug = False
        writer.touch([BAD])
        while errors.listed():
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_a_writer_in_tests_is_stopped_by_a_bug() -> None:
    writer = Writer(cast(ApiServer, None), Books(), lambda: True, lambda *_: None)
    writer.touch([BAD])
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(writer.run(), 30)


def stored(name: str) -> Upsert:
    meta = f'{{"name": "{name}", "namespace": "app", "resourceVersion": "1"}}'
    return Upsert(decode_stored(f'{{"apiVersion": "v1", "kind": "HTTPRoute", "metadata": {meta}}}'.encode()))


async def test_reports_that_change_all_the_time_have_a_route_written_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "DEBOUNCE_SECONDS", 0.01)
    monkeypatch.setattr(run, "MIN_WRITE_INTERVAL_SECONDS", 3600.0)
    controller = Controller(cast(ApiServer, None), ControllerSettings(mesh="weft"))
    flushed: list[set[Key]] = []

    class Source:
        stale = ""

        async def changes(self) -> AsyncIterator[list[Any]]:
            yield [stored("good")]
            monkeypatch.setattr(controller.writer, "touch", lambda keys: flushed.extend([set(keys)] if keys else []))
            for node in range(50):
                yield [Upsert(NodeReport(f"n{node}", (RejectedRoute(GOOD, 1, GOOD, 80, ""),)))]
                await asyncio.sleep(0.01)

    controller.source = cast(KubernetesSource, Source())
    writing = asyncio.create_task(controller.write_reported())
    await controller.follow()
    writing.cancel()
    await asyncio.wait([writing])
    assert flushed == [{GOOD}]
    assert controller.reported == {GOOD}, "the rest is for the next time"


async def test_a_report_of_routes_that_are_not_there_leaves_nothing_to_write() -> None:
    controller = Controller(cast(ApiServer, None), ControllerSettings(mesh="weft"))

    class Source:
        stale = ""

        async def changes(self) -> AsyncIterator[list[Any]]:
            yield [stored("good")]
            for number in range(20):
                absent = [RejectedRoute(Key("HTTPRoute", "app", f"{number}-{it}"), 1, GOOD, 80, "") for it in range(50)]
                yield [Upsert(NodeReport("n1", (RejectedRoute(GOOD, 1, GOOD, 80, ""), *absent)))]

    controller.source = cast(KubernetesSource, Source())
    await controller.follow()
    assert controller.reported == {GOOD}


async def test_a_controller_follows_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "HTTPRoute" in ROUTES
    monkeypatch.setenv(STRICT, "0")
    controller = Controller(cast(ApiServer, None), ControllerSettings(mesh="weft"))
    real = controller.statuses.update

    def broken(change: Change) -> Key | None:
        if change == stored("bad"):
            raise KeyError("a bug")
        return real(change)

    class Source:
        stale = ""

        async def changes(self) -> AsyncIterator[list[Any]]:
            yield [stored("bad"), stored("good"), Synced("kubernetes")]

    monkeypatch.setattr(controller.statuses, "update", broken)
    monkeypatch.setattr(controller, "source", Source())
    await controller.follow()
    assert controller.synced
    assert GOOD in controller.statuses.targets
    assert BAD not in controller.statuses.targets
    assert 'weft_internal_errors_total{part="statuses"} 1.0' in controller.metrics.render()
