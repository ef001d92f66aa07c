"""Pods that leave the mesh: still clients for the grace time, and no longer."""

from agent.datapath.departures import Departures
from agent.ir.identity import Workload
from agent.ir.plan import PodPlan
from agent.ir.tables import Mode, PodFlag
from agent.ir.waypoint_state import LISTENER_GRACE_SECONDS
from agent.model.change import Delete, Upsert
from agent.model.facts import RecentClient
from agent.model.meta import Key

WORKLOAD = Workload("app", "p", "p", "latest")


def pods(**modes: Mode) -> dict[int, PodPlan]:
    """Pods by a cgroup id that is in their name: `p7=Mode.L4`."""
    return {
        int(name[1:]): PodPlan(Key("Pod", "app", name), "app", mode, PodFlag.NONE, (), WORKLOAD)
        for name, mode in modes.items()
    }


def test_a_pod_is_a_client_from_when_it_is_in_the_mesh_until_the_grace_time_after_it_left():
    made = Departures()
    assert made.see(pods(p7=Mode.L7, p8=Mode.NONE), 0) == [Upsert(RecentClient(7))]
    assert made.see(pods(p7=Mode.L4, p8=Mode.NONE), 1) == []
    assert (made.next_end, made.expire(1000)) == (None, [])
    assert made.see(pods(p7=Mode.NONE, p8=Mode.NONE), 1000) == []
    assert made.next_end == 1000 + LISTENER_GRACE_SECONDS
    assert made.expire(1000 + LISTENER_GRACE_SECONDS - 1) == []
    assert made.expire(1000 + LISTENER_GRACE_SECONDS) == [Delete(RecentClient(7).key)]
    assert made.next_end is None


def test_a_pod_that_comes_back_within_the_grace_time_stays_and_has_a_whole_one_again():
    made = Departures()
    made.see(pods(p7=Mode.L7), 0)
    made.see(pods(p7=Mode.NONE), 1)
    assert made.see(pods(p7=Mode.L7), 2) == []
    assert made.expire(1000) == []
    made.see({}, 1000)
    assert made.next_end == 1000 + LISTENER_GRACE_SECONDS


def test_what_an_earlier_agent_had_in_the_mesh_may_have_left_a_moment_ago():
    made = Departures()
    made.see(pods(p7=Mode.L7, p8=Mode.NONE), 0)
    assert made.adopt([7, 8], 1) == [Upsert(RecentClient(7)), Upsert(RecentClient(8))]
    assert made.see(pods(p7=Mode.L7, p8=Mode.NONE), 1) == []
    assert made.expire(1 + LISTENER_GRACE_SECONDS) == [Delete(RecentClient(8).key)]
