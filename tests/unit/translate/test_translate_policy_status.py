"""What the status of an AuthorizationPolicy says."""

from typing import Any

import pytest

from agent.ir.plan import Condition
from agent.model.authorization import LabelSelector, UndecodableAuthorizationPolicy
from agent.model.change import Delete, Upsert
from agent.model.core import Service, ServicePort, ServiceSpec
from agent.model.meta import Key, ObjectMeta
from agent.store.store import Store
from agent.translate.incremental import STATUS_KINDS, Translator
from agent.translate.options import Options
from agent.translate.policy_status import translate_policy_status
from support.policies import POLICY, application_policy, from_spiffe, policy
from support.translate import view_of

UNDECODABLE = UndecodableAuthorizationPolicy(POLICY, 2, (LabelSelector(),), "spec.action", "is bad")


def condition(*values: object) -> Condition:
    (status,) = translate_policy_status(view_of(*values), POLICY).statuses[POLICY]
    assert (status.parent_ref.group, status.parent_ref.kind, status.parent_ref.name) == ("", "Namespace", "app")
    (found,) = status.conditions
    return found


def test_a_good_policy_is_accepted() -> None:
    found = condition(policy({}))
    assert (found.type, found.status, found.reason, found.observed_generation) == ("Accepted", True, "Accepted", 1)
    assert found.message == "enforced on the nodes of the pods that it selects"


def test_a_policy_without_rules_is_told_that_it_allows_no_client() -> None:
    assert condition(policy()).message.endswith("; without rules it allows no client")


def test_a_source_that_matches_no_client_is_named() -> None:
    found = condition(policy({"sources": [from_spiffe("spiffe://example.org/a")]}))
    assert (found.status, found.reason) == (True, "Accepted")
    assert "spec.rules[0].sources[0].spiffe: UnsupportedValue: no client has" in found.message


def test_an_undecodable_policy_is_invalid() -> None:
    found = condition(UNDECODABLE)
    assert (found.status, found.reason, found.observed_generation) == (False, "Invalid", 2)
    assert found.message.startswith("spec.action: is bad; on nodes that have not read an earlier generation no client")
    assert found.message.endswith("connect to the pods that it selects")
    whole = UndecodableAuthorizationPolicy(POLICY, 2, None, "spec.targetRefs", "is bad")
    assert condition(whole).message.endswith("connect to every pod of its namespace")


def test_the_generation_that_stays_in_force_is_named() -> None:
    found = condition(policy(), UNDECODABLE)
    assert (found.status, found.observed_generation) == (False, 2)
    assert "generation 1, the last that could be read, stays in force" in found.message


def service(*ports: tuple[int, str], **spec: Any) -> Service:
    made = tuple(ServicePort(number, name) for number, name in ports)
    fields = {"ports": made, "selector": {"app": "web"}, "cluster_ip": "10.96.0.1"} | spec
    return Service(ObjectMeta("web", "app"), ServiceSpec(**fields))


def test_a_policy_for_the_requests_to_a_service_is_accepted() -> None:
    found = condition(application_policy({}), service((80, "http"), (81, "")))
    assert (found.status, found.reason) == (True, "Accepted")
    assert found.message.endswith(
        "by the waypoints of its clients; no other client connects to the pods of the Service"
    )


def test_the_ports_that_no_request_reaches_are_named() -> None:
    found = condition(application_policy({}), service((80, "http"), (443, "https"), (6379, "redis")))
    assert (found.status, found.reason) == (True, "Accepted")
    assert "; not HTTP, by appProtocol, name or a Route: 443, 6379; only" in found.message


@pytest.mark.parametrize(
    ("services", "reason", "message"),
    [
        ([], "TargetNotFound", "Service app/web does not exist: the policy selects no pod"),
        (
            [service((80, ""), selector={})],
            "Invalid",
            "has no selector: the policy selects no pod",
        ),
        ([service((80, ""), cluster_ip="None")], "Invalid", "is headless, so no request goes through a waypoint"),
        ([service((443, "https"))], "Invalid", "has no HTTP port"),
    ],
)
def test_a_service_that_no_request_reaches_by_a_waypoint_is_told(
    services: list[Service], reason: str, message: str
) -> None:
    found = condition(application_policy({}), *services)
    assert (found.status, found.reason) == (False, reason)
    assert message in found.message


def test_there_is_no_status_without_a_policy() -> None:
    assert translate_policy_status(view_of(policy(name="other")), POLICY).statuses == {}


def test_the_status_follows_the_policy_and_the_fact() -> None:
    translator = Translator(Store(), Options(), STATUS_KINDS)

    def reasons(*changes: Upsert | Delete) -> dict[Key, list[str]]:
        translator.update(changes)
        return {
            key: [item.reason for status in statuses for item in status.conditions]
            for output in translator.outputs.values()
            for key, statuses in output.statuses.items()
        }

    assert reasons(Upsert(policy())) == {POLICY: ["Accepted"]}
    assert reasons(Upsert(UNDECODABLE)) == {POLICY: ["Invalid"]}
    assert reasons(Delete(UNDECODABLE.key)) == {POLICY: ["Accepted"]}
    assert reasons(Delete(POLICY)) == {}
    assert reasons(Upsert(UNDECODABLE)) == {POLICY: ["Invalid"]}
    assert reasons(Delete(UNDECODABLE.key)) == {}
