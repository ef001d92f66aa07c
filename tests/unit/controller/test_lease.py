"""Who leads, by each candidate's own clock."""

from agent.controller.lease import DURATION, RENEW_BEFORE, Candidate, Lease, LeaseMetadata, LeaseSpec

WALL = "2026-01-01T00:00:00.000000Z"


class Server:
    """The Lease as stored: a write that names an old version is refused."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.version = 0

    def write(self, spec: LeaseSpec, version: str) -> Lease | None:
        if version != (self.lease.metadata.resource_version if self.lease else ""):
            return None
        self.version += 1
        self.lease = Lease(LeaseMetadata("l", str(self.version)), spec)
        return self.lease


def run_round(candidate: Candidate, server: Server, now: float) -> bool:
    """As the loop does it; returns whether the candidate leads."""
    candidate.observe(server.lease, now)
    spec = candidate.try_acquire(now, WALL)
    if spec is None:
        candidate.lost()
    elif (lease := server.write(spec, candidate.version)) is not None:
        candidate.renewed(lease, now)
    return candidate.leads(now)


def test_the_first_leads_and_the_second_waits():
    server, a, b = Server(), Candidate("a"), Candidate("b")
    assert run_round(a, server, 0)
    assert [run_round(b, server, now) or run_round(a, server, now) for now in (2, 4, 6)] == [True] * 3
    assert not any(run_round(b, server, now) for now in (8, 10))
    assert server.lease is not None
    assert (server.lease.spec.holder_identity, server.lease.spec.lease_transitions) == ("a", 0)


def test_a_lease_that_nobody_renews_is_taken_over_after_its_duration():
    server, a, b = Server(), Candidate("a"), Candidate("b")
    run_round(a, server, 0)
    assert not run_round(b, server, 1)
    assert not run_round(b, server, DURATION)  # b has watched it for less than that
    assert run_round(b, server, 1 + DURATION)
    assert server.lease is not None
    assert (server.lease.spec.holder_identity, server.lease.spec.lease_transitions) == ("b", 1)
    assert not run_round(a, server, 1 + DURATION)


def test_a_leader_that_cannot_renew_stops_before_another_begins():
    server, a, b = Server(), Candidate("a"), Candidate("b")
    run_round(a, server, 0)
    run_round(b, server, 0)
    times = [number / 4 for number in range(100)]
    assert max(now for now in times if a.leads(now)) < RENEW_BEFORE
    assert min(now for now in times if run_round(b, server, now)) >= DURATION


def test_two_bids_at_once_and_one_wins():
    server, a, b = Server(), Candidate("a"), Candidate("b")
    a.observe(None, 0)
    b.observe(None, 0)
    first, second = a.try_acquire(0, WALL), b.try_acquire(0, WALL)
    assert first is not None
    assert second is not None
    assert server.write(first, a.version) is not None
    assert server.write(second, b.version) is None


def test_one_that_resigns_makes_room_at_once():
    server, a, b = Server(), Candidate("a"), Candidate("b")
    run_round(a, server, 0)
    assert not run_round(b, server, 1)
    record = a.release(WALL)
    assert record is not None
    assert server.write(record, a.version) is not None
    a.lost()
    assert a.release(WALL) is None
    assert run_round(b, server, 2)


def test_one_that_comes_back_by_its_name_goes_on():
    server = Server()
    run_round(Candidate("a"), server, 0)
    assert run_round(Candidate("a"), server, 1)
    assert server.lease is not None
    assert server.lease.spec.lease_transitions == 0
