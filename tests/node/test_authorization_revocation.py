"""What runs at the waypoint for a client ends when policies do not admit it any more; what others run goes on."""

from collections.abc import Iterator, Mapping

import pytest

from support.node.connecting import ALICE, BOB, CAROL, account
from support.node.lab_handle import LabFactory, LabHandle
from support.node.mesh import settle
from support.node.request_policies import POLICY, Policies, request_lab, request_policies
from support.node.streams import Stream, streams

pytestmark = pytest.mark.node

LONG: Mapping[str, Stream] = {
    "answer": ("answer", "web.shop", 80, "/public"),
    "websocket": ("websocket", "web.shop", 80, "/public/chat"),
    "call": ("call", "web.shop", 7070, "/public/call"),
}
# By the Route of another Service.
ROUTED: Mapping[str, Stream] = {"route": ("answer", "front.bank", 80, "/public")}
ENDED, RUNS = (dict.fromkeys(LONG, state) for state in ("ended", "runs"))
PUBLIC = "httpAttributes: {paths: [{type: PathPrefix, value: /public}]}"
ANY_CLIENT = f"[{{{PUBLIC}}}]"
NAMESPACES = f"[{{sources: [{account('*')}, {account('*', 'bank')}], {PUBLIC}}}]"
# A rule with another path, and another rule.
WIDER = (
    NAMESPACES.replace("paths: [", "paths: [{type: Exact, value: /more}, ")[:-1]
    + f", {{sources: [{account('dave')}]}}]"
)


@pytest.fixture(scope="module")
def mesh(make_lab: LabFactory) -> LabHandle:
    return request_lab(make_lab, "authzrevoke")


@pytest.fixture
def policies(mesh: LabHandle) -> Iterator[Policies]:
    with request_policies(mesh) as made:
        yield made


@pytest.mark.parametrize("before", [ANY_CLIENT, NAMESPACES], ids=["rule for everybody", "rule for accounts"])
def test_what_runs_for_a_client_ends_when_it_is_not_admitted_any_more(
    mesh: LabHandle, policies: Policies, before: str
) -> None:
    policies.apply(before)
    with (
        streams(mesh, ALICE, LONG) as kept,
        streams(mesh, BOB, LONG, ending=True) as revoked,
        streams(mesh, CAROL, ROUTED, ending=True) as routed,
    ):
        policies.apply(f"[{{sources: [{account('alice')}], {PUBLIC}}}]")
    assert (kept, revoked, routed) == (RUNS, ENDED, {"route": "ended"})


def test_what_runs_goes_on_where_nothing_is_taken(mesh: LabHandle, policies: Policies) -> None:
    policies.apply(NAMESPACES)
    with streams(mesh, BOB, LONG) as bob, streams(mesh, CAROL, ROUTED) as carol:
        policies.apply(WIDER)
    assert (bob, carol) == (RUNS, {"route": "runs"})


def test_what_runs_ends_when_the_agent_comes_back_to_a_policy_that_refuses_its_client(
    mesh: LabHandle, policies: Policies
) -> None:
    """Of a client that some rule admits the agent does not know what it had before."""
    policies.apply(ANY_CLIENT)
    with streams(mesh, ALICE, LONG) as kept, streams(mesh, BOB, LONG, ending=True) as revoked:
        mesh.agent_stop(kill=True)
        mesh.apply(POLICY.format(rules=f"[{{sources: [{account('alice')}], {PUBLIC}}}]"))
        mesh.agent_start()
        settle(mesh, lambda status: bool(status["protectedPods"]))
    assert (kept, revoked) == (RUNS, ENDED)
