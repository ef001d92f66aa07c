"""What is rendered again when translation wants something else, and what stays."""

import pytest

from agent.internal_errors import InternalErrors
from agent.ir.http import BackendPort, RouteSet, Rule, WeightedBackend
from agent.ir.plan import Fragment
from agent.ir.resources import ResourceName, ResourceType
from agent.model.meta import Key
from agent.model.routes import HTTPRouteMatch
from agent.translate.incremental import SERVICES, Unit
from agent.translate.options import Collector, Options
from agent.waypoint import rendering as module
from agent.waypoint.rendering import Rendering
from agent.waypoint.xds.render import Rendered, render
from agent.waypoint.xds.tracing import COLLECTOR

BACKEND = BackendPort("app", "back", 80)
LISTENER = ResourceName(ResourceType.LISTENER, "app/web:80")
ENDPOINTS = ResourceName(ResourceType.ENDPOINT, BACKEND.cluster)
WEB = Unit(SERVICES, Key("Service", "app", "web"))


def fragment(*addresses: str, **more: object) -> Fragment:
    rules = RouteSet(
        "app/web:80", "", 80, False, (Rule("r", HTTPRouteMatch(), backends=(WeightedBackend(BACKEND, 1),)),)
    )
    return Fragment({}, {}, {rules.name: rules}, {BACKEND: tuple((item, 8080) for item in addresses)}, **more)  # type: ignore[arg-type]


def taken(rendering: Rendering, old: Fragment, new: Fragment) -> None:
    rendering.take(WEB, old, new)
    rendering.advance(10)


def test_a_unit_comes_changes_and_goes() -> None:
    rendering = Rendering(Options())
    one, two = fragment("10.0.0.1"), fragment("10.0.0.1", "10.0.0.2")
    taken(rendering, Fragment(), one)
    resources, needs = rendering.configuration
    assert needs["app/web:80"] <= resources.keys() | {ResourceName(ResourceType.EXTENSION, "admit")}
    taken(rendering, one, two)
    assert len(rendering.configuration[0][ENDPOINTS]["endpoints"][0]["lb_endpoints"]) == 2
    taken(rendering, two, Fragment())
    assert rendering.configuration == ({}, {})


def test_what_concerns_no_envoy_is_not_rendered() -> None:
    rendering = Rendering(Options())
    one = fragment("10.0.0.1")
    taken(rendering, Fragment(), one)
    before = rendering.configuration
    rendering.take(WEB, one, fragment("10.0.0.1", warnings=("something",)))
    assert not rendering.behind
    assert rendering.configuration is before


def test_a_unit_that_trips_a_bug_keeps_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = InternalErrors(strict=False)
    rendering = Rendering(Options(), errors)
    one, two = fragment("10.0.0.1"), fragment("10.0.0.2")
    taken(rendering, Fragment(), one)
    before = rendering.configuration[0]

    def bug(fragment: Fragment, options: Options) -> Rendered:
        raise LookupError("a bug")

    monkeypatch.setattr(module, "render", bug)
    taken(rendering, one, two)
    assert rendering.configuration[0] == before
    assert [str(item.subject) for item in errors.listed()] == [str(WEB.key)]
    taken(rendering, two, Fragment())
    assert (rendering.configuration[0], errors.listed()) == ({}, [])


def test_few_are_rendered_at_once() -> None:
    rendering = Rendering(Options())
    for number in range(3):
        rendering.take(Unit(SERVICES, Key("Service", "app", f"s{number}")), Fragment(), fragment("10.0.0.1"))
    rendering.advance(2)
    assert rendering.behind
    rendering.advance(2)
    assert not rendering.behind


def test_the_collector_is_nobody_s_dependency() -> None:
    made = render(fragment("10.0.0.1"), Options(collector=Collector("10.1.0.5", 4317)))
    name = ResourceName(ResourceType.CLUSTER, COLLECTOR)
    assert name in made.resources
    assert name not in made.dependencies["app/web:80"]
