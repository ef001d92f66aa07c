"""A dry run of a policy on real connections: nobody is refused; metrics, events, log and commands say who would be."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.node.connecting import (
    ADMITTED,
    ALICE,
    BOB,
    CAROL,
    POLICY,
    REFUSED,
    TCP,
    account,
    addresses,
    connects,
    service_addresses,
)
from support.node.explain import explain
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle

pytestmark = [pytest.mark.node, pytest.mark.ip_families("ipv4", "dual")]

AUDITED = POLICY.replace("namespace: shop}}", "namespace: shop, annotations: {{weft.dev/audit: '{audit}'}}}}", 1)
RULES = f"[{{sources: [{account('alice')}]}}]"
SERIES = re.compile(r'^weft_authz_total\{end="(.*)",mode="(.*)",policy="(.*)",verdict="(.*)"\} (.*)$', re.MULTILINE)


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return make_lab("audit", [Path(__file__).with_name("authorization.yaml")], agent=True)


@pytest.fixture
def audited(mesh: LabHandle) -> Iterator[None]:
    """A policy that would admit one client alone; afterwards there is none."""
    mesh.apply(AUDITED.format(audit="true", rules=RULES))
    settle(mesh, lambda status: [pod["guard"] for pod in status["auditedPods"]] == ["attached"])
    yield
    mesh.delete(POLICY.format(rules="[]"))
    settle(mesh, lambda status: not status["protectedPods"] and not status["auditedPods"])


def counts(mesh: LabHandle) -> dict[tuple[str, ...], float]:
    """`weft_authz_total` by end, mode, policy and verdict."""
    text = mesh.node("curl", "-sS", "http://127.0.0.1:9464/metrics").stdout
    return {tuple(labels): float(count) for *labels, count in SERIES.findall(text)}


@pytest.mark.feature("AuthorizationPolicy, Network: a dry run")
def test_nobody_is_refused_and_who_would_be_is_counted_shown_and_logged(mesh: LabHandle, audited: None):
    before = counts(mesh)
    assert {client: connects(mesh, client) for client in (ALICE, BOB, CAROL)} == dict.fromkeys(
        (ALICE, BOB, CAROL), ADMITTED
    )
    assert mesh.status()["protectedPods"] == []
    # Each client connects to each address of the pod and of its Service.
    each = len(addresses(mesh)) + len(service_addresses(mesh))
    grown = {labels: count - before.get(labels, 0) for labels, count in counts(mesh).items()}
    # A late packet of a connection that has ended counts too (tests/datapath/test_audited_policies.py).
    assert grown["server", "audit", "shop/web", "refused"] >= 2 * each
    assert grown["server", "audit", "shop/web", "allowed"] >= each, "the kubelet probes the pod meanwhile"
    assert {(end, mode) for (end, mode, _, _), count in grown.items() if count} == {("server", "audit")}
    command = (sys.executable, "-m", "agent", "flows", "--last", "--verdict", "audit", "-o", "json")
    mesh.wait_for("the events are read", lambda: "bank" in mesh.node(*command, "--state", str(mesh.paths.state)).stdout)
    shown = [json.loads(item) for item in mesh.node(*command, "--state", str(mesh.paths.state)).stdout.splitlines()]
    assert {(item["namespace"], item["workload"], item["policy"], item["reason"]) for item in shown} == {
        ("shop", "bob", "shop/web", "audit_refused"),
        ("bank", "carol", "shop/web", "audit_refused"),
    }
    assert "audited policies would refuse a connection" in mesh.log("agent")


def test_commands_say_that_it_is_not_enforced(mesh: LabHandle, audited: None):
    for client, would in ((ALICE, True), (BOB, False)):
        (outcome,) = explain(mesh, client, "web.shop:9090")["outcomes"]
        assert (outcome["admission"], outcome["audit"]) == (None, {"admitted": would, "policies": ["web"]})
    options = ("--state", str(mesh.paths.state))
    text = mesh.node(sys.executable, "-m", "agent", "explain", BOB, "web.shop:9090", *options).stdout
    assert "audited, not enforced: AuthorizationPolicy web would refuse it" in text
    shown = mesh.node(sys.executable, "-m", "agent", "authz", "who-can", "shop/web", *options, "-o", "json").stdout
    (client,) = {
        item["client"]: item["reason"] for row in json.loads(shown)["ports"] for item in row["clients"]
    }.items()
    assert client[0] == "*"
    assert client[1].endswith("; audited, not enforced: AuthorizationPolicy shop/web")


def test_the_annotation_ends_the_enforcement_and_begins_it(mesh: LabHandle, audited: None):
    """Both without another generation of the policy."""
    for audit, expected in (("false", REFUSED), ("true", ADMITTED)):
        mesh.apply(AUDITED.format(audit=audit, rules=RULES))
        settle(mesh, lambda status, audit=audit: bool(status["auditedPods"]) == (audit == "true"))
        settle(mesh, lambda status, audit=audit: bool(status["protectedPods"]) == (audit == "false"))
        assert (connects(mesh, BOB), connects(mesh, ALICE)) == (expected, ADMITTED)


def test_what_is_enforced_is_counted_by_policy_too(mesh: LabHandle, audited: None):
    mesh.apply(AUDITED.format(audit="false", rules=RULES))
    settle(mesh, lambda status: bool(status["protectedPods"]))
    before = counts(mesh)
    host = addresses(mesh)[0]
    mesh.node("curl", "-sS", "-m", "5", f"http://{host}:{TCP}/", check=False)
    assert connects(mesh, ALICE) == ADMITTED
    grown = {labels: count - before.get(labels, 0) for labels, count in counts(mesh).items()}
    assert grown["server", "enforce", "shop/web", "refused"] == 1
    assert grown["server", "enforce", "shop/web", "allowed"] >= 2
    assert connects(mesh, BOB) == REFUSED
    refused = counts(mesh)["client", "enforce", "", "refused"] - before["client", "enforce", "", "refused"]
    assert refused == len(addresses(mesh)) + len(service_addresses(mesh)), "the client's node refuses first"
