"""Policies with many sources, which every route repeats, are bounded."""

from bisect import bisect_left

import pytest

from agent.ir.http import HTTPListenerIR, TLSListenerIR, TLSRule
from agent.ir.policy import ServiceAccount
from agent.ir.request_conditions import PathCondition, RequestConditions
from agent.ir.requirements import AuditedRequirements, RequestRule, Requirement
from agent.ir.resources import ResourceType
from agent.model.meta import Key
from agent.translate.requirement_size import MAX_BYTES, audit_warnings, bounded, bounded_audits, size_warnings
from agent.waypoint.encode import encode
from agent.waypoint.xds.render import ResourceName
from agent.waypoint.xds.route import route_configuration
from support.waypoint.rules import V1, V2, any_path, rule, to

SMALL = (Requirement((Key("AuthorizationPolicy", "app", "small"),), (ServiceAccount("app", "web"),)),)


def requirement(clients: int) -> tuple[Requirement, ...]:
    names = tuple(ServiceAccount("app", f"client-{number:04}") for number in range(clients))
    return (Requirement((Key("AuthorizationPolicy", "app", "large"),), names),)


def listener(rules: int) -> HTTPListenerIR:
    return HTTPListenerIR("app/a:80", "", 80, False, (rule(any_path(), to(V1, V2)),) * rules)


def test_what_fits_stays_as_it_is() -> None:
    found = {V1: requirement(1000), V2: SMALL}
    assert bounded([listener(16)], found) is found
    assert list(size_warnings(found, found)) == []


@pytest.mark.parametrize("shared", [False, True])
def test_what_does_not_fit_admits_no_client_and_hurts_no_other_backend(shared: bool) -> None:
    listeners = [listener(256), TLSListenerIR("app/a:81", "", (TLSRule("t", (), to(V1)),))]
    found = {V1: requirement(4000 if shared else 1000), V2: SMALL}
    after = bounded(listeners, found)
    assert after == {V1: (Requirement((Key("AuthorizationPolicy", "app", "large"),)),), V2: SMALL}
    (warning,) = size_warnings(found, after)
    assert warning.startswith("Service app/v1: the waypoint refuses all clients of app/v1:80/http")
    assert "AuthorizationPolicy app/large" in warning


@pytest.mark.parametrize(
    "conditions",
    [
        RequestConditions((), tuple(PathCondition(f"/{number}", number % 2 == 0) for number in range(16))),
        RequestConditions((), (PathCondition("/" + "a" * 1023, exact=False),)),
        RequestConditions((), (), tuple((f"x-{number}", "-" * 64) for number in range(16))),
        RequestConditions(("GET",), (PathCondition("/"),), (("x", "y"),)),
    ],
)
def test_the_estimate_of_conditions_is_not_below_what_envoy_gets(conditions: RequestConditions) -> None:
    required = (Requirement((), (), (RequestRule(conditions, (ServiceAccount("app", "web"),)),) * 16),)
    found = {V1: required}
    fitting = bisect_left(range(1, 2000), True, key=lambda number: bounded([listener(number)], found) != found)
    assert 1 <= fitting < 1999
    table = route_configuration(listener(fitting), found, {})
    assert len(encode(ResourceName(ResourceType.ROUTE, "x"), table).packed.value) <= MAX_BYTES


def test_the_estimate_is_not_below_what_envoy_gets() -> None:
    rules = listener(60)
    found = {V1: requirement(1000), V2: SMALL}
    assert bounded([rules], found) is found
    size = len(encode(ResourceName(ResourceType.ROUTE, "x"), route_configuration(rules, found, {})).packed.value)
    assert size <= MAX_BYTES


def test_audited_policies_that_do_not_fit_are_left_out() -> None:
    key = Key("AuthorizationPolicy", "app", "tried")
    small, large = (
        {V1: (AuditedRequirements((key,), requirement(number)),), V2: (AuditedRequirements((key,)),)}
        for number in (10, 4000)
    )
    for audits, kept in ((small, small), (large, {})):
        after = bounded_audits([listener(256)], audits)
        assert after == kept
        warnings = list(audit_warnings(audits, after))
        assert [f"not audited at the waypoint: {key}" in item for item in warnings] == ([] if kept else [True])
