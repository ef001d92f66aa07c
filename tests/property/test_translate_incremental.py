"""Whatever way changes come in, the plan is that of the store they leave behind."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ir.plan import Output
from agent.model.change import Change, Delete, Upsert
from agent.model.core import Namespace, Pod, PodIP, PodSpec, PodStatus, Service, ServicePort, ServiceSpec
from agent.model.discovery import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from agent.model.facts import PodCgroup
from agent.model.meta import ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import Translator, Unit
from agent.waypoint.xds.render import render
from support.random_objects import LABELS, NAMES, OPTIONS, SPACES, any_routes, metas


@st.composite
def namespaces(draw: st.DrawFn) -> Namespace:
    return Namespace(ObjectMeta(draw(SPACES), labels=draw(LABELS)))


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    space, name, address = draw(SPACES), draw(NAMES), draw(st.sampled_from(["10.1.0.1", "10.1.0.2"]))
    phase = draw(st.sampled_from(["Running", "Failed"]))
    return Pod(
        ObjectMeta(name, space, f"{space}-{name}", labels=draw(LABELS)),
        PodSpec("here", draw(st.booleans())),
        PodStatus(phase, pod_ips=(PodIP(address),)),
    )


@st.composite
def cgroups(draw: st.DrawFn) -> PodCgroup:
    uid = f"{draw(SPACES)}-{draw(NAMES)}"
    return PodCgroup(uid, 100 + ["app-a", "app-b", "shop-a", "shop-b"].index(uid))


@st.composite
def services(draw: st.DrawFn) -> Service:
    meta = draw(metas())
    address = f"10.96.{meta.namespace == 'shop':d}.{meta.name == 'b':d}"
    named = draw(st.lists(st.sampled_from(["http", "mysql", "x"]), min_size=1, max_size=2))
    ports = tuple(ServicePort(80 + number, f"{name}-{number}") for number, name in enumerate(named))
    return Service(meta, ServiceSpec(cluster_ips=draw(st.sampled_from([(), (address,)])), ports=ports))


@st.composite
def slices(draw: st.DrawFn) -> EndpointSlice:
    owner = {"kubernetes.io/service-name": draw(NAMES)}
    endpoints = draw(
        st.lists(
            st.builds(
                lambda last, ready: Endpoint((f"10.2.0.{last}",), EndpointConditions(ready)),
                st.integers(1, 3),
                st.sampled_from([None, True, False]),
            ),
            max_size=3,
        )
    )
    ports = tuple(EndpointPort(name, 8080) for name in ("http-0", "x-0"))
    return EndpointSlice(ObjectMeta(draw(NAMES), draw(SPACES), labels=owner), "IPv4", tuple(endpoints), ports)


OBJECTS = st.one_of(namespaces(), pods(), cgroups(), services(), slices(), any_routes())
EDITS = st.lists(st.tuples(OBJECTS, st.sampled_from([True, True, True, False])), max_size=30)
WORLDS = st.lists(OBJECTS, max_size=20, unique_by=lambda value: value.key)


def translated(batches: list[list[Change]]) -> dict[Unit, Output]:
    """The outputs after these changes."""
    translator = Translator(Store(), OPTIONS)
    for batch in [[], *batches]:
        translator.update(batch)
    return translator.outputs


def changes(edits: list[tuple[object, bool]]) -> list[Change]:
    return [Upsert(value) if stays else Delete(value.key) for value, stays in edits]  # type: ignore[attr-defined]


@settings(max_examples=120, deadline=None)
@given(WORLDS, st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(values: list[object], random: Random) -> None:
    batch: list[Change] = [Upsert(value) for value in values]  # type: ignore[arg-type]
    mixed = batch * 2
    random.shuffle(mixed)
    assert translated([mixed]) == translated([batch])


@settings(max_examples=120, deadline=None)
@given(EDITS, st.data())
def test_splitting_does_not_matter(edits: list[tuple[object, bool]], data: st.DataObject) -> None:
    batch = changes(edits)
    cut = data.draw(st.integers(0, len(batch)))
    assert translated([batch[:cut], batch[cut:]]) == translated([batch])


@settings(max_examples=120, deadline=None)
@given(EDITS, st.data())
def test_small_steps_do_not_matter(edits: list[tuple[object, bool]], data: st.DataObject) -> None:
    batch = changes(edits)
    translator = Translator(Store(), OPTIONS)
    for change in batch:
        translator.take([change])
        if data.draw(st.booleans()):
            translator.enrol()
            for _ in range(data.draw(st.integers(0, 2))):
                translator.advance()
    translator.enrol()
    while translator.has_pending:
        translator.advance()
    assert translator.outputs == translated([batch])


@settings(max_examples=150, deadline=None)
@given(EDITS)
def test_incremental_is_as_from_scratch(edits: list[tuple[object, bool]]) -> None:
    batch = changes(edits)
    left = {}
    for change in batch:
        if isinstance(change, Upsert):
            left[change.value.key] = change
        elif isinstance(change, Delete):
            left.pop(change.key, None)
    assert translated([[change] for change in batch]) == translated([list(left.values())])


@settings(max_examples=100, deadline=None)
@given(EDITS)
def test_updates_tell_exactly_what_changed(edits: list[tuple[object, bool]]) -> None:
    translator = Translator(Store(), OPTIONS)
    translator.update([])
    for change in changes(edits):
        before = dict(translator.outputs)
        for unit, (old, new) in translator.update([change]).items():
            assert old != new
            assert before.pop(unit, Output()) == old
            if new != Output():
                before[unit] = new
        assert before == translator.outputs


@settings(max_examples=60, deadline=None)
@given(EDITS)
def test_saying_it_again_changes_nothing(edits: list[tuple[object, bool]]) -> None:
    translator = Translator(Store(), OPTIONS)
    batch = changes(edits)
    translator.update(batch)
    final = {}
    for change in batch:
        final[change.value.key if isinstance(change, Upsert) else change.key] = change  # type: ignore[union-attr]
    assert translator.update(list(final.values())) == {}


@settings(max_examples=100, deadline=None)
@given(WORLDS)
def test_what_a_listener_waits_for_is_there(values: list[object]) -> None:
    outputs = translated([[Upsert(value) for value in values]])  # type: ignore[arg-type]
    made = [render(item, OPTIONS) for item in outputs.values()]
    wanted = {name for item in made for names in item.dependencies.values() for name in names}
    assert wanted <= {name for item in made for name in item.resources}


@settings(max_examples=100, deadline=None)
@given(WORLDS)
def test_units_do_not_contradict_each_other(values: list[object]) -> None:
    merged: dict[object, object] = {}
    for item in translated([[Upsert(value) for value in values]]).values():  # type: ignore[arg-type]
        for name, value in (*render(item, OPTIONS).resources.items(), *item.frontends.items()):
            assert merged.setdefault(name, value) == value
