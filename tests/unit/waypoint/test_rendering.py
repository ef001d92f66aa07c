"""What is rendered again when translation wants something else, and what stays."""

import msgspec
import pytest

from agent.internal_errors import InternalErrors
from agent.ir.http import BackendPort, HTTPListenerIR, Rule, WeightedBackend
from agent.ir.plan import Output
from agent.ir.policy import ServiceAccount
from agent.ir.requirements import AuditedRequirements, Requirement
from agent.ir.resources import ResourceName, ResourceType
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch
from agent.translate.incremental import CLIENT_ALLOW_LIST, SERVICES, Unit
from agent.translate.options import Collector, Options
from agent.waypoint import rendering as module
from agent.waypoint.rendering import Rendering
from agent.waypoint.xds.render import Rendered, render
from agent.waypoint.xds.runtime import runtime
from agent.waypoint.xds.tracing import COLLECTOR

BACKEND = BackendPort("app", "back", 80)
LISTENER = ResourceName(ResourceType.LISTENER, "app/web:80")
ENDPOINTS = ResourceName(ResourceType.ENDPOINT, BACKEND.cluster)
TWO = ("10.0.0.1", "10.0.0.2")
LOGGED = ResourceName(ResourceType.RUNTIME, "weft")
NOTHING_LOGGED = {LOGGED: runtime(())}
WEB = Unit(SERVICES, Key("Service", "app", "web"))


def output(*addresses: str, **more: object) -> Output:
    rules = HTTPListenerIR(
        "app/web:80", "", 80, False, (Rule("r", HTTPRouteMatch(), backends=(WeightedBackend(BACKEND, 1),)),)
    )
    return Output({}, {}, {rules.name: rules}, {BACKEND: tuple((item, 8080) for item in addresses)}, **more)  # type: ignore[arg-type]


def taken(rendering: Rendering, old: Output, new: Output) -> None:
    rendering.take(WEB, old, new)
    rendering.begin()
    rendering.advance(10)


def test_a_unit_comes_changes_and_goes() -> None:
    rendering = Rendering(Options())
    one, two = output("10.0.0.1"), output("10.0.0.1", "10.0.0.2")
    taken(rendering, Output(), one)
    resources, needs = rendering.configuration
    clients = {ResourceName(ResourceType.EXTENSION, f"client-{name}") for name in ("allow-list", "identities")}
    assert needs["app/web:80"] <= resources.keys() | clients
    taken(rendering, one, two)
    assert len(rendering.configuration[0][ENDPOINTS]["endpoints"][0]["lb_endpoints"]) == 2
    taken(rendering, two, Output())
    assert rendering.configuration == (NOTHING_LOGGED, {})


def test_what_concerns_no_envoy_is_not_rendered() -> None:
    rendering = Rendering(Options())
    one = output("10.0.0.1")
    taken(rendering, Output(), one)
    before = rendering.configuration
    rendering.take(WEB, one, output("10.0.0.1", warnings=("something",)))
    assert not rendering.has_pending
    assert rendering.configuration is before


def test_a_unit_that_trips_a_bug_keeps_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = InternalErrors(strict=False)
    rendering = Rendering(Options(), errors)
    one, two = output("10.0.0.1"), output("10.0.0.2")
    taken(rendering, Output(), one)
    before = rendering.configuration[0]

    def bug(output: Output, options: Options) -> Rendered:
        raise LookupError("a bug")

    monkeypatch.setattr(module, "render", bug)
    taken(rendering, one, two)
    assert rendering.configuration[0] == before
    assert [str(item.subject) for item in errors.listed()] == [str(WEB.key)]
    taken(rendering, two, Output())
    assert (rendering.configuration[0], errors.listed()) == (NOTHING_LOGGED, [])


def test_few_are_rendered_at_once() -> None:
    rendering = Rendering(Options())
    for number in range(3):
        rendering.take(Unit(SERVICES, Key("Service", "app", f"s{number}")), Output(), output("10.0.0.1"))
    rendering.begin()
    rendering.advance(2)
    assert rendering.has_batch
    rendering.advance(2)
    assert not rendering.has_batch


def test_the_collector_is_nobody_s_dependency() -> None:
    made = render(output("10.0.0.1"), Options(collector=Collector("10.1.0.5", 4317)))
    name = ResourceName(ResourceType.CLUSTER, COLLECTOR)
    assert name in made.resources
    assert name not in made.dependencies["app/web:80"]


def size(*addresses: str) -> int:
    rendered = render(output(*addresses), Options()).resources
    return sum(len(msgspec.json.encode(value)) for value in rendered.values())


def test_a_namespace_has_no_more_configuration_than_it_leaves_free() -> None:
    """A unit that does not fit is told; one that grows keeps what it was; both are taken when there is room."""
    one, two = output("10.0.0.1"), output("10.0.0.1", "10.0.0.2")
    rendering = Rendering(Options(), capacity=3 * size("10.0.0.1"))
    other = Unit(SERVICES, Key("Service", "app", "other"))
    elsewhere = Unit(SERVICES, WEB.key, "shop")
    taken(rendering, Output(), one)
    rendering.take(other, Output(), one)
    rendering.take(elsewhere, Output(), one)
    rendering.begin()
    rendering.advance(10)
    assert rendering.refused == {("configuration", "app"): 1}
    assert rendering.rejected_listeners == {
        "app/web:80": f"budget of configuration: namespace app has {size('10.0.0.1')}, wants {size('10.0.0.1')} more, "
        f"and may have {3 * size('10.0.0.1') // 2}: no more than it leaves free"
    }
    assert rendering.budget.used == {"app": size("10.0.0.1"), "shop": size("10.0.0.1")}
    rendering.take(WEB, one, two)
    rendering.take(elsewhere, one, Output())
    rendering.begin()
    rendering.advance(10)
    rendering.begin()
    rendering.advance(10)
    assert not rendering.has_pending
    assert (rendering.refused, rendering.budget.used) == ({("configuration", "app"): 1}, {"app": size(*TWO)})
    rendering.take(WEB, two, Output())
    rendering.begin()
    rendering.advance(10)
    assert rendering.has_pending
    rendering.begin()
    rendering.advance(10)
    assert (rendering.refused, rendering.rejected_listeners) == ({}, {})
    assert rendering.budget.used == {"app": size("10.0.0.1")}


def test_a_unit_that_may_not_grow_keeps_its_configuration() -> None:
    one, two = output("10.0.0.1"), output(*TWO)
    rendering = Rendering(Options(), capacity=2 * size("10.0.0.1"))
    taken(rendering, Output(), one)
    before = rendering.configuration
    taken(rendering, one, two)
    assert rendering.configuration == before
    assert rendering.rejected_listeners.keys() == {"app/web:80"}
    taken(rendering, two, one)
    assert (rendering.configuration, rendering.rejected_listeners) == (before, {})


def test_a_unit_that_may_not_grow_does_not_keep_the_policies_of_before() -> None:
    required = {BACKEND: (Requirement((), (ServiceAccount("app", "web"),)),)}
    one, two, more = output("10.0.0.1"), output("10.0.0.1", requirements=required), output("10.0.0.2")
    rendering = Rendering(Options(), capacity=2 * size("10.0.0.1"))
    taken(rendering, Output(), one)
    taken(rendering, one, two)
    assert rendering.configuration[0] == NOTHING_LOGGED
    rendering.begin()
    rendering.advance(10)
    assert not rendering.has_pending
    assert (rendering.configuration[0], rendering.budget.used) == (NOTHING_LOGGED, {})
    assert rendering.rejected_listeners.keys() == {"app/web:80"}
    taken(rendering, two, more)
    assert (LISTENER in rendering.configuration[0], rendering.rejected_listeners) == (True, {})


def test_a_dry_run_takes_no_room_from_what_is_served() -> None:
    audits = {BACKEND: (AuditedRequirements((Key("AuthorizationPolicy", "app", "tried"),)),)}
    one, tried = output("10.0.0.1"), output("10.0.0.1", audits=audits)
    plain, roomy = Rendering(Options(), capacity=2 * size("10.0.0.1")), Rendering(Options())
    for rendering in (plain, roomy):
        taken(rendering, Output(), one)
        before = rendering.configuration
        taken(rendering, one, tried)
        assert rendering.rejected_listeners == {}
        assert (rendering.configuration == before) is (rendering is plain)


def test_what_belongs_to_no_namespace_is_always_rendered() -> None:
    rendering = Rendering(Options(), capacity=1)
    rendering.take(CLIENT_ALLOW_LIST, Output(), Output(client_allow_lists={"": ("10.0.0.1",)}))
    rendering.begin()
    rendering.advance(1)
    assert (len(rendering.configuration[0]), rendering.refused) == (3, {})


def test_the_namespaces_that_are_logged_are_a_value_of_the_runtime() -> None:
    rendering = Rendering(Options())
    one, logged = output("10.0.0.1"), output("10.0.0.1", logged=frozenset({"app"}))
    taken(rendering, Output(), one)
    before = dict(rendering.configuration[0])
    assert before[LOGGED]["layer"] == {}
    taken(rendering, one, logged)
    assert rendering.configuration[0] == {**before, LOGGED: runtime(["app"])}, "no listener changes"
    assert rendering.configuration[0][LOGGED]["layer"] == {"weft.access_log.app": 100}
