"""One candidate's view of a Lease (coordination.k8s.io/v1), by the rules of client-go's leader election.

Clocks of machines are not compared: a lease has expired when its record has not changed for its duration by our clock.
A leader that cannot renew stops before another may start. `kubernetes.aio` has leader election too, but a lost
connection ends its loop while the leader continues to work.
"""

from dataclasses import dataclass

import msgspec

from agent.model.meta import Value

DURATION = 15
RENEW_BEFORE = 10.0
RETRY = 2.0


class LeaseSpec(Value, frozen=True, omit_defaults=True):
    """The spec of the Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaseMetadata(Value, frozen=True):
    """The metadata of the Lease; a write names its resourceVersion."""

    name: str
    resource_version: str = ""


class Lease(Value, frozen=True):
    """The Lease as stored."""

    metadata: LeaseMetadata
    spec: LeaseSpec = LeaseSpec()


@dataclass(frozen=True, slots=True)
class _Observed:
    lease: Lease
    at: float


class Candidate:
    """One candidate. Times are seconds of a monotonic clock; `wall` is RFC 3339."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._observed: _Observed | None = None
        self._renewed: float | None = None

    def observe(self, lease: Lease | None, now: float) -> None:
        """Record the current Lease; None if it does not exist."""
        if lease is None:
            self._observed = None
        elif self._observed is None or self._observed.lease.spec != lease.spec:
            self._observed = _Observed(lease, now)
        else:
            self._observed = _Observed(lease, self._observed.at)

    @property
    def version(self) -> str:
        """The resourceVersion that was observed last, empty when there is no Lease."""
        return self._observed.lease.metadata.resource_version if self._observed else ""

    def try_acquire(self, now: float, wall: str) -> LeaseSpec | None:
        """The record to write, to renew the lease or to acquire an expired one. None while another replica leads."""
        if self._observed is None:
            return self._record(wall, wall, 0)
        spec = self._observed.lease.spec
        if spec.holder_identity == self.identity:
            return self._record(spec.acquire_time or wall, wall, spec.lease_transitions or 0)
        over = now >= self._observed.at + (spec.lease_duration_seconds or DURATION)
        return self._record(wall, wall, (spec.lease_transitions or 0) + 1) if over or not spec.holder_identity else None

    def release(self, wall: str) -> LeaseSpec | None:
        """The record that releases the lease; None when this candidate does not lead."""
        if self._renewed is None or self._observed is None:
            return None
        transitions = self._observed.lease.spec.lease_transitions
        return LeaseSpec("", 1, wall, wall, transitions)

    def renewed(self, lease: Lease, began: float) -> None:
        """Record a successful write. The lease is valid from the start of the attempt."""
        self._observed = _Observed(lease, began)
        self._renewed = began

    def lost(self) -> None:
        """Record that another replica leads, or that this one has released the lease."""
        self._renewed = None

    def leads(self, now: float) -> bool:
        """Whether this candidate may act as the leader now."""
        return self._renewed is not None and now < self._renewed + RENEW_BEFORE

    def _record(self, acquired: str, renewed: str, transitions: int) -> LeaseSpec:
        return LeaseSpec(self.identity, DURATION, acquired, renewed, transitions)


def decode_lease(raw: bytes) -> Lease:
    """A Lease from its JSON. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(raw, type=Lease)
