"""What the waypoint sees beyond Routes, by label; and spans, when there is somebody to send them to."""

from dataclasses import replace

import pytest
from msgspec import structs

from agent.ir.plan import OnLoss, Output
from agent.ir.resources import ResourceName, ResourceType
from agent.model.change import Upsert
from agent.model.core import Namespace, Service
from agent.model.meta import Key, ObjectMeta
from agent.store.mode import MODE_LABEL
from agent.translate.incremental import SERVICES, Unit
from agent.translate.labels import ACCESS_LOG, SCOPE, is_logged
from agent.translate.options import Collector, Options
from agent.waypoint.xds.render import render
from agent.waypoint.xds.tracing import COLLECTOR
from support.translate import http_route, service, translator, view_of

WEB = Unit(SERVICES, Key("Service", "app", "web"))


def labelled(**labels: str) -> Namespace:
    return Namespace(ObjectMeta("app", labels={MODE_LABEL: "l7", **labels}))


def http_service(**labels: str) -> Service:
    plain = service("web", "10.96.0.1")
    port = structs.replace(plain.spec.ports[0], name="http")
    meta = structs.replace(plain.metadata, labels=labels)
    return structs.replace(plain, metadata=meta, spec=structs.replace(plain.spec, ports=(port,)))


def made(space: Namespace, *values: Service, options: Options | None = None) -> Output:
    found = translator(options=options)
    found.update([Upsert(space), *map(Upsert, values)])
    return found.outputs[WEB]


def test_a_label_that_comes_and_goes_brings_and_takes_the_listener() -> None:
    translating = translator()
    translating.update([Upsert(http_service())])
    assert not translating.outputs[WEB].listeners
    translating.update([Upsert(labelled(**{SCOPE: "all"}))])
    (plan,) = translating.outputs[WEB].frontends.values()
    assert (plan.listener, plan.on_loss) == ("app/web:80", OnLoss.KERNEL)
    translating.update([Upsert(labelled(**{SCOPE: "routes"}))])
    assert not translating.outputs[WEB].listeners


def test_a_route_takes_over_and_the_service_refuses_on_loss_again() -> None:
    translating = translator(http_route())
    translating.update([Upsert(labelled(**{SCOPE: "all"})), Upsert(http_service())])
    (plan,) = translating.outputs[WEB].frontends.values()
    assert (plan.listener, plan.on_loss) == ("app/web:80", OnLoss.REJECT)
    (rule,) = translating.outputs[WEB].listeners["app/web:80"].rules
    assert rule.name == "app/r/0/0"


@pytest.mark.parametrize(
    ("space", "own", "sees"),
    [
        ("all", "routes", False),
        ("routes", "all", True),
        ("all", "odd", True),
        ("odd", "all", True),
        ("", "", False),
    ],
)
def test_the_service_s_own_label_decides_where_it_says_something(space: str, own: str, sees: bool) -> None:
    output = made(labelled(**{SCOPE: space} if space else {}), http_service(**{SCOPE: own} if own else {}))
    assert bool(output.listeners) is sees
    assert bool([text for text in output.warnings if SCOPE in text]) is ("odd" in (space, own))


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), ("yes", False), (None, False)])
def test_only_true_has_requests_written(value: str | None, expected: bool) -> None:
    space = labelled(**{ACCESS_LOG: value} if value is not None else {})
    assert is_logged(view_of(space), "app") is expected
    assert is_logged(view_of(space), "other") is False


def test_the_access_log_s_label_changes_nothing_that_envoy_has() -> None:
    plain, logged = (made(labelled(**more), http_service()) for more in ({}, {ACCESS_LOG: "true"}))
    assert plain == logged


def test_spans_need_a_collector() -> None:
    options = Options("here")
    plain, traced = (
        render(made(labelled(**{SCOPE: "all"}), http_service(), options=item), item)
        for item in (options, replace(options, collector=Collector("10.1.0.5", 4317, 5)))
    )
    name = ResourceName(ResourceType.LISTENER, "app/web:80")
    config = [item.resources[name]["filter_chains"][0]["filters"][1]["typed_config"] for item in (plain, traced)]
    assert [("tracing" in found, "request_id_extension" in found) for found in config] == [(False, False), (True, True)]
    cluster = ResourceName(ResourceType.CLUSTER, COLLECTOR)
    assert (cluster in plain.resources, cluster in traced.resources) == (False, True)
    assert cluster not in traced.dependencies["app/web:80"]
