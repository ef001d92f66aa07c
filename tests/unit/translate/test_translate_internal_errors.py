"""A unit of translation that trips a bug keeps what it made last; all others go on."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.plan import Output
from agent.model.change import Change, Delete, Upsert
from agent.model.facts import PodCgroup
from agent.model.meta import Key
from agent.store import store as worlds
from agent.store.store import Store, TrackedView
from agent.translate import incremental
from agent.translate.incremental import CLIENT_ALLOW_LIST, Translator, Unit
from agent.translate.options import Options
from support.translate import endpoint, http_route, mesh, pod, service, slice_of

OTHERS = [
    service("other", "10.96.0.9"),
    slice_of("other", endpoint("10.1.0.9")),
    pod("second", "10.1.0.10"),
    PodCgroup("uid-second", 902),
]
UNITS = {
    "translate_pod": Unit("pod", Key("Pod", "app", "client")),
    "translate_service": Unit("service", Key("Service", "app", "web")),
    "translate_status": Unit("status", http_route().key),
    "translate_client_allow_list": CLIENT_ALLOW_LIST,
}
# What changes the output of each of these units, once it can be made again.
NEWS: dict[str, Change] = {
    "translate_pod": Upsert(pod("client", "10.1.0.77")),
    "translate_service": Upsert(slice_of("web", endpoint("10.1.0.77"))),
    "translate_status": Upsert(http_route(backend="gone")),
    "translate_client_allow_list": Upsert(pod("client", "10.1.0.77")),
}


class Bug:
    """A function that raises for one unit, after it has read what it reads, while it is `there`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
        self.there = False
        self.calls = 0
        real: Callable[..., Any] = getattr(incremental, function)
        name = UNITS[function].key.name

        def broken(view: TrackedView, *rest: Any) -> Any:
            made = real(view, *rest)
            if isinstance(made, Iterator):
                made = iter(list(made))
            if function == "translate_client_allow_list" or any(
                name in (item, getattr(item, "name", "")) for item in rest
            ):
                self.calls += 1
                if self.there:
                    raise KeyError("a bug")
            return made

        monkeypatch.setattr(incremental, function, broken)


def made(errors: InternalErrors) -> Translator:
    translator = Translator(Store(), Options("here"), errors=errors)
    translator.update([*mesh(), Upsert(http_route()), *map(Upsert, OTHERS)])
    return translator


@pytest.mark.parametrize("function", UNITS)
def test_a_unit_that_trips_a_bug_keeps_its_fragment_and_the_others_go_on(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, errors, unit = Bug(monkeypatch, function), InternalErrors(strict=False), UNITS[function]
    translator = made(errors)
    good = translator.outputs[unit]
    assert good != Output()
    bug.there = True
    moved = [Upsert(slice_of("other", endpoint("10.1.0.88"))), Upsert(pod("second", "10.1.0.89"))]
    found = translator.update([NEWS[function], *moved])
    assert unit not in found
    assert translator.outputs[unit] == good
    assert {"second", "other"} <= {changed.key.name for changed in found}
    (item,) = errors.listed()
    assert (item.part, item.subject, item.error) == (unit.kind, str(unit.key), "KeyError: 'a bug'")
    assert errors.counts() == {unit.kind: 1}


@pytest.mark.parametrize("function", ["translate_pod", "translate_service", "translate_status"])
def test_a_unit_that_tripped_a_bug_is_tried_again_when_what_it_reads_changes(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, errors, unit = Bug(monkeypatch, function), InternalErrors(strict=False), UNITS[function]
    translator = made(errors)
    good = translator.outputs[unit]
    bug.there = True
    translator.update([NEWS[function]])
    bug.there, tried = False, bug.calls
    translator.update([Upsert(slice_of("other", endpoint("10.1.0.90")))])
    assert bug.calls == tried
    assert errors.listed() != []
    value = NEWS[function].value  # type: ignore[union-attr]
    translator.update([Delete(value.key)])
    translator.update([Upsert(value)])
    assert bug.calls > tried
    assert errors.listed() == []
    assert translator.outputs[unit] != good


@pytest.mark.parametrize("function", ["translate_pod", "translate_service", "translate_status"])
def test_nothing_stays_of_an_object_that_is_gone_whatever_trips(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug, errors, unit = Bug(monkeypatch, function), InternalErrors(strict=False), UNITS[function]
    translator = made(errors)
    bug.there = True
    found = translator.update([Delete(unit.key)])
    assert found[unit][1] == Output()
    assert unit not in translator.outputs
    assert errors.listed() == []


def test_a_value_that_cannot_be_taken_in_leaves_the_former_one(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = InternalErrors(strict=False)
    translator = made(errors)
    before = dict(translator.outputs)
    real = worlds.indices

    def broken(value: Any) -> Any:
        if value is not None and value.key.name == "web":
            raise TypeError("a bug")
        return real(value)

    with monkeypatch.context() as patch:
        patch.setattr(worlds, "indices", broken)
        found = translator.update(
            [Upsert(service("web", "10.96.0.77")), Upsert(slice_of("other", endpoint("10.1.0.88")))]
        )
    assert {unit.key.name for unit in found} == {"other"}
    unit = UNITS["translate_service"]
    assert translator.outputs[unit] == before[unit]
    assert [(item.part, item.subject) for item in errors.listed()] == [("store", "Service app/web")]
    translator.update([Upsert(service("web", "10.96.0.77"))])
    assert {name.address for name in translator.outputs[unit].frontends} == {"10.96.0.77"}
    assert errors.listed() == []


def test_a_shared_answer_that_cannot_be_made_is_tried_again_when_what_it_reads_changes() -> None:
    store = Store()
    view = TrackedView(store)

    def broken(inner: TrackedView) -> None:
        inner.service(Key("Service", "app", "web"))
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        view.memo(("name",), broken)
    assert view.reads == {("object", "Service", "app", "web")}
    assert view.memo(("name",), lambda _: 5) == 5


def test_tests_are_stopped_by_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = Bug(monkeypatch, "translate_service")
    translator = made(InternalErrors())
    bug.there = True
    with pytest.raises(KeyError):
        translator.update([NEWS["translate_service"]])
