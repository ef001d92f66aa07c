"""Protected pods in the document of `weft status`."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.ir.authorization import ServerPlan
from agent.ir.plan import Output
from agent.kube.decode import decode
from agent.model.authorization import AUDIT
from agent.model.change import Keyed
from agent.model.meta import Key
from agent.model.parameters import LastMeshParameters
from agent.node.authorization_controller import AuthorizationController
from agent.node.authorization_status import UNATTENDED, with_authorization
from support.fakes.kernel import FakeKernel
from support.parameters import parameters
from support.policies import application_document
from support.translate import view_of


@dataclass
class Guards:
    """What is known of programs in pods."""

    states: dict[int, str] = field(default_factory=dict)
    audit_states: dict[int, str] = field(default_factory=dict)

    def look(self, servers: object, complete: bool, audited: object) -> None:
        pass


class Nobody:
    """No clients."""

    accounts_listed = True

    def want_accounts(self, accounts: object) -> None:
        pass


def made(guards: Guards) -> AuthorizationController:
    return AuthorizationController(FakeKernel(), guards, Nobody(), list, lambda: None, lambda _: None, 60.0)


async def test_protected_pods_are_listed_with_their_guards_and_what_does_not_fit_with_the_rest():
    controller = made(Guards({7: "attached"}, {8: "attached"}))
    plans = {
        cgroup: ServerPlan(Key("Pod", "shop", name), (), (), (Key("AuthorizationPolicy", "shop", "p"),))
        for cgroup, name in ((7, "web"), (8, "api"))
    }
    controller.desired.take("unit", Output(), Output(servers=plans, audited={8: plans[8]}))
    controller.tables.rejected = {"policies of Pod shop/web": "no room"}
    document = {"reconciling": False, "failures": {"other": "reason"}, "tables": {"pods": {"rows": 1, "capacity": 2}}}
    found = with_authorization(document, controller, view_of())
    assert [(pod["pod"], pod["policies"], pod["guard"]) for pod in found["protectedPods"]] == [
        ("shop/api", ["p"], UNATTENDED),
        ("shop/web", ["p"], "attached"),
    ]
    assert [(pod["pod"], pod["policies"], pod["guard"]) for pod in found["auditedPods"]] == [
        ("shop/api", ["p"], "attached")
    ]
    assert set(found["failures"]) == {"other", "policies of Pod shop/web"}
    assert set(found["tables"]) == {
        *("pods", "servers", "peers", "grants", "destinations", "destination_grants"),
        *("audited", "audited_grants"),
    }
    assert found["destinationPolicies"] == {}, "pods without addresses are no destinations"


@pytest.mark.parametrize(
    ("values", "name", "default", "problem"),
    [
        ((), None, "Allow", ""),
        ((parameters("Deny", "a"),), "default", "Deny", ""),
        ((LastMeshParameters(parameters("Deny")),), "default", "Deny", "MeshParameters default does not exist"),
    ],
)
async def test_the_parameters_in_force_are_shown_with_the_reason_why_they_are_not_those_named(
    values: tuple[Keyed, ...], name: str | None, default: str, problem: str
):
    controller = made(Guards())
    plan = ServerPlan(Key("Pod", "shop", "web"), (), (), (Key("MeshParameters", "", "default"),))
    controller.desired.take("unit", Output(), Output(servers={7: plan}))
    document: Any = {"reconciling": False, "failures": {}, "tables": {}}
    found = with_authorization(document, controller, view_of(*values))
    assert found["protectedPods"][0]["policies"] == ["MeshParameters default"]
    shown = found["meshParameters"]
    assert (shown["name"], shown["default"], shown["problem"]) == (name, default, problem)


async def test_services_with_audited_policies_about_requests_are_listed() -> None:
    audited, enforced = (application_document({}, name=name) for name in ("tried", "enforced"))
    audited["metadata"]["annotations"] = {AUDIT: "true"}
    policies = [policy for document in (audited, enforced) for policy in decode(document, "here")]
    found = with_authorization({"reconciling": False, "failures": {}, "tables": {}}, made(Guards()), view_of(*policies))
    assert found["auditedServices"] == [("app/web", "tried")]
