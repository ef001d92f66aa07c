"""What Envoy counted of requests: the value between the reader of its statistics and the metrics made of it."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

MILLISECONDS = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000)
MICROSECONDS = tuple(round(1000 * bound) for bound in MILLISECONDS)
BYTES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
BOUNDS = {"duration": MICROSECONDS, "received": BYTES, "sent": BYTES}
"""The histograms, each with the upper bounds of its buckets."""


class Series(NamedTuple):
    """Requests that Envoy counts together.

    - `client`: the source address. `listener`: the listener's name.
    - `route`: a `Rule.name`; empty where none matched.
    - `cluster`: a `BackendPort.cluster`, or a `Pool.cluster` with the `members` that its endpoint belongs to; empty
      where none was chosen.
    - `audit`: what audited policies would decide, `allowed` or `refused`, and these policies; None without any.
    """

    client: str
    listener: str
    route: str
    cluster: str
    members: tuple[str, ...] = ()
    grpc: bool = False
    audit: tuple[str, str] | None = None


class Outcome(NamedTuple):
    """The result of a request: its code (0 without a response), its gRPC status (empty where it is not gRPC), and
    Envoy's response flags (`-` for none).
    """

    code: str
    grpc_status: str = ""
    flags: str = "-"


OTHER = Outcome("other", "other", "other")
"""The result of requests whose own is not counted, because there are too many different ones."""


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, the last without an upper bound, and the sum of the values, which Envoy estimates."""

    counts: list[int]
    sum: float = 0.0

    @classmethod
    def of(cls, bounds: tuple[int, ...]) -> "Histogram":
        """An empty histogram with these upper bounds."""
        return cls([0] * (len(bounds) + 1))

    def record(self, bounds: tuple[int, ...], upper: float, count: int) -> None:
        """Add values of a bucket with this upper bound."""
        self.counts[bisect_left(bounds, upper)] += count

    def add(self, other: "Histogram") -> None:
        """Add the values of another histogram."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def since(self, before: "Histogram") -> "Histogram":
        """The values that came since `before`. All, where there are fewer than before: Envoy began at zero again."""
        grown = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        return Histogram(grown, max(0.0, self.sum - before.sum)) if min(grown) >= 0 else self


@dataclass(slots=True)
class Sums:
    """Requests by their outcome, and the histograms of `BOUNDS` in their order."""

    outcomes: dict[Outcome, int] = field(default_factory=dict)
    histograms: list[Histogram] = field(default_factory=lambda: [Histogram.of(bounds) for bounds in BOUNDS.values()])

    def copy(self) -> "Sums":
        """A copy that does not change with this one."""
        return Sums(dict(self.outcomes), [Histogram(list(item.counts), item.sum) for item in self.histograms])

    @property
    def requests(self) -> int:
        """The number of requests."""
        return sum(self.outcomes.values())

    def count(self, outcome: Outcome, count: int) -> None:
        """Add requests with this outcome."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count

    def add(self, other: "Sums") -> None:
        """Add the requests of another one."""
        for outcome, count in other.outcomes.items():
            self.count(outcome, count)
        for mine, its in zip(self.histograms, other.histograms, strict=True):
            mine.add(its)

    def since(self, before: "Sums") -> "Sums":
        """The requests that came since `before`."""
        known = ((outcome, now, before.outcomes.get(outcome, 0)) for outcome, now in self.outcomes.items())
        grown = ((outcome, now - then if now >= then else now) for outcome, now, then in known)
        pairs = zip(self.histograms, before.histograms, strict=True)
        return Sums({outcome: count for outcome, count in grown if count}, [now.since(then) for now, then in pairs])

    def __bool__(self) -> bool:
        return bool(self.outcomes) or any(any(histogram.counts) for histogram in self.histograms)


Growth = Iterable[tuple[Series | None, Sums]]
"""New requests by series. None: requests that Envoy did not attribute to a series."""
