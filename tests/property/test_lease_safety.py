"""However slow, cut off or unlucky the candidates are: no two lead at once, and in quiet times one does."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agent.controller.lease import DURATION, RETRY, Candidate, Lease, LeaseMetadata, LeaseSpec

WALL = "2026-01-01T00:00:00.000000Z"


class Server:
    """The Lease as stored: a write that names an old version is refused."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.writes = 0

    def write(self, spec: LeaseSpec, version: str) -> Lease | None:
        if version != (self.lease.metadata.resource_version if self.lease else ""):
            return None
        self.writes += 1
        self.lease = Lease(LeaseMetadata("l", str(self.writes)), spec)
        return self.lease


@dataclass
class Replica:
    """A candidate and the request that it is waiting for."""

    candidate: Candidate
    try_acquire: tuple[LeaseSpec, str, float] | None = None

    def read(self, server: Server, now: float) -> None:
        """Begin a round, whatever became of the last."""
        self.candidate.observe(server.lease, now)
        spec = self.candidate.try_acquire(now, f"{WALL}{now}")
        self.try_acquire = (spec, self.candidate.version, now) if spec else None
        if spec is None:
            self.candidate.lost()

    def write(self, server: Server, answered: bool) -> None:
        """The write arrives; its answer may get lost."""
        if self.try_acquire is None:
            return
        spec, version, began = self.try_acquire
        self.try_acquire = None
        lease = server.write(spec, version)
        if lease is not None and answered:
            self.candidate.renewed(lease, began)


steps = st.lists(
    st.tuples(
        st.floats(0, 8),
        st.integers(0, 2),
        st.sampled_from(["read", "write", "write without an answer", "both", "both", "resign"]),
    ),
    max_size=60,
)


@given(steps)
def test_no_two_lead_and_one_will(history):
    server, now = Server(), 0.0
    replicas = [Replica(Candidate(name)) for name in "abc"]

    def leaders() -> list[str]:
        return [it.candidate.identity for it in replicas if it.candidate.leads(now)]

    for seconds, number, what in history:
        now += seconds
        replica = replicas[number]
        assert len(leaders()) <= 1
        if what == "resign":
            record = replica.candidate.release(WALL) if replica.candidate.leads(now) else None
            replica.candidate.lost()
            replica.try_acquire = None
            if record is not None:
                server.write(record, replica.candidate.version)
        if what in ("read", "both"):
            replica.read(server, now)
        if what != "read":
            replica.write(server, answered="without" not in what)
        assert len(leaders()) <= 1
    for _ in range(round(2 * DURATION / RETRY)):
        now += RETRY
        for replica in replicas:
            replica.read(server, now)
            replica.write(server, answered=True)
        assert len(leaders()) <= 1
    assert len(leaders()) == 1
