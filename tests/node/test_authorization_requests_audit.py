"""A dry run of a policy about requests: the waypoint says what it would decide, and every way stays open."""

import json
import re
from collections.abc import Iterator

import pytest

from support.node.connecting import ALICE, BOB, account
from support.node.explain import explain
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import get, settle
from support.node.request_policies import POLICY, request_lab

pytestmark = pytest.mark.node

AUDITED = POLICY.replace("namespace: shop}}", "namespace: shop, annotations: {{weft.dev/audit: 'true'}}}}", 1)
RULES = f"[{{sources: [{account('alice')}], httpAttributes: {{paths: [{{type: PathPrefix, value: /public}}]}}}}]"
SERIES = re.compile(
    r'^weft_authz_total\{end="waypoint",mode="audit",policy="(.*)",verdict="(.*)"\} (.*)$', re.MULTILINE
)
# Requests to this Service go through the waypoint by its Route, which leads to the pods of the policy.
FRONT = "http://front.bank"


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    lab = request_lab(make_lab, "authzreqaudit")
    lab.label("Namespace", "", "bank", "weft.dev/access-log=true")
    settle(lab, lambda status: bool(status["waypoint"]["listeners"]))
    return lab


@pytest.fixture
def audited(mesh: LabHandle) -> Iterator[None]:
    mesh.apply(AUDITED.format(rules=RULES))
    mesh.wait_for("it is audited", lambda: shown(mesh, BOB, "/public") is not None)
    settle(mesh, lambda _: True)
    yield
    mesh.delete(POLICY.format(rules="[]"))
    mesh.wait_for("it is not audited", lambda: shown(mesh, BOB, "/public") is None)


def shown(mesh: LabHandle, client: str, path: str) -> object:
    """What `weft explain` says of the audited policies."""
    (share,) = explain(mesh, client, f"{FRONT}{path}")["waypoint"]["shares"]
    assert (share["status"], share["refusedBy"]) == (None, None)
    return share["audit"]


def counts(mesh: LabHandle) -> dict[tuple[str, str], float]:
    """By policy and verdict."""
    text = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout
    return {(policy, verdict): float(count) for policy, verdict, count in SERIES.findall(text)}


def lines(mesh: LabHandle) -> list[tuple[str, str, str | None, str | None]]:
    """Client, path, and what audited policies would decide, of each line of the access log."""
    found = [json.loads(line) for line in mesh.log("agent").splitlines() if line.startswith('{"time"')]
    return [(item["workload"], item["path"], item["audit"], item["auditedPolicies"]) for item in found]


@pytest.mark.feature("AuthorizationPolicy, Application: a dry run")
def test_requests_are_served_and_what_the_policy_would_decide_is_counted_and_told(
    mesh: LabHandle, audited: None
) -> None:
    listeners = mesh.status()["waypoint"]["listeners"]
    requested = [(ALICE, "/public/a"), (ALICE, "/admin"), (BOB, "/public/b")]
    assert [get(mesh, f"{FRONT}{path}", client=client).status for client, path in requested] == [200, 200, 200]
    # Without the dry run the Service would go through the waypoint, and refuse other ways.
    assert get(mesh, "http://web.shop/admin", client=BOB).status == 200
    status = mesh.status()
    assert (status["protectedPods"], status["waypoint"]["listeners"]) == ([], listeners)
    assert status["auditedServices"] == [["shop/web", "web"]]
    expected = {("shop/web", "allowed"): 1, ("shop/web", "refused"): 2}
    mesh.wait_for("all are counted", lambda: counts(mesh) == expected)
    mesh.wait_for("all are logged", lambda: len(lines(mesh)) >= len(requested))
    assert {line for line in lines(mesh) if line[2]} == {
        ("alice", "/public/a", "allowed", "shop/web"),
        ("alice", "/admin", "refused", "shop/web"),
        ("bob", "/public/b", "refused", "shop/web"),
    }


def test_explain_says_what_it_would_decide(mesh: LabHandle, audited: None) -> None:
    policies = ["AuthorizationPolicy shop/web"]
    assert shown(mesh, ALICE, "/public") == {"admitted": True, "policies": policies}
    assert shown(mesh, BOB, "/public") == shown(mesh, ALICE, "/x") == {"admitted": False, "policies": policies}
