"""Requests that Envoy counted, from its statistics in Prometheus' text format. No input, no output, no clock."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from agent.ir.request_stats import BOUNDS, OTHER, Growth, Histogram, Outcome, Series, Sums
from agent.waypoint.xds.authorization import audit_of_id
from agent.waypoint.xds.request_stats import COUNTER, GRPC, MAX_SERIES, SEPARATOR

# A name that Envoy makes: `envoy_weft_by_duration_bucket{k="…",le="500"} 3`.
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rf"^envoy_weft_(all|by)_({COUNTER}|{'|'.join(BOUNDS)})(_bucket|_sum|_count)?"
    rf'\{{(?:k={_TEXT},?)?(?:o={_TEXT},?)?(?:le="([^"]*)")?\}} ([0-9.e+]+)$',
    re.MULTILINE,
)
_ESCAPED = re.compile(r"\\(.)")
_PARTS = len(Series._fields)
_POSITIONS = {name: position for position, name in enumerate(BOUNDS)}
# More than Envoy's own limits allow. An Envoy that reports more is not believed: the rest counts as `other`.
_MOST = 2 * MAX_SERIES
_ALL = ""


@dataclass(slots=True)
class Reading:
    """What an Envoy has counted since it started: of all requests, and by series."""

    total: Sums = field(default_factory=Sums)
    series: dict[Series, Sums] = field(default_factory=dict)


def parse(text: str) -> Reading:
    """Read the statistics. Raises `ValueError` for text of another shape."""
    found: dict[str, Sums] = defaultdict(Sums)
    below: dict[tuple[str, str], int] = {}
    for scope, name, part, key, outcome, upper, value in _LINE.findall(text):
        sums = found[_ALL if scope == "all" else key]
        if name == COUNTER:
            sums.count(_outcome(outcome), int(value))
            continue
        histogram = sums.histograms[_POSITIONS[name]]
        if part == "_sum":
            histogram.sum = float(value)
        elif part == "_bucket":
            # Counts of buckets are cumulative, in the order of their bounds.
            count = int(value)
            histogram.record(BOUNDS[name], float(upper), count - below.get((key, name), 0))
            below[key, name] = count
    total = found.pop(_ALL, Sums())
    known = ((series, sums) for key, sums in found.items() if (series := _series(key)) is not None)
    return Reading(total, dict(islice(known, _MOST)))


def _outcome(text: str) -> Outcome:
    code, _, rest = text.partition(SEPARATOR)
    flags, _, status = rest.partition(SEPARATOR)
    return Outcome(code, status, flags)


def _series(key: str) -> Series | None:
    """The series of a tag; None where it is none of ours."""
    parts = _ESCAPED.sub(r"\1", key).split(SEPARATOR)
    if len(parts) not in (_PARTS - 1, _PARTS):
        return None
    # The listeners of an agent before say nothing of audited policies.
    client, listener, route, cluster, members, protocol, *audit = parts
    try:
        listed = tuple(msgspec.json.decode(members or "[]", type=list[str]))
    except msgspec.DecodeError:
        # A text that is no list: `-`, where the cluster is not a pool.
        listed = ()
    return Series(client, listener, route, cluster, listed, protocol == GRPC, audit_of_id("".join(audit)))


@dataclass(slots=True)
class Process:
    """What the agent has taken over from one Envoy: its last reading, the sum of all series since it started, also of
    removed ones, and how much of the total is in no series.
    """

    last: Reading = field(default_factory=Reading)
    attributed: Sums = field(default_factory=Sums)
    rest: Sums = field(default_factory=Sums)

    def grow(self, now: Reading) -> Growth:
        """The new requests. A series that Envoy removed begins at zero again."""
        return list(self._grown(now))

    def _grown(self, now: Reading) -> Iterator[tuple[Series | None, Sums]]:
        nothing = Sums()
        for series, sums in now.series.items():
            if grown := sums.since(self.last.series.get(series, nothing)):
                self.attributed.add(grown)
                yield series, grown
        self.last = now
        if grown := self._unattributed(now.total):
            self.rest.add(grown)
            yield None, grown

    def _unattributed(self, total: Sums) -> Sums:
        """The new requests in no series: as many as the total has more than all series."""
        lacking = total.requests - self.attributed.requests - self.rest.requests
        groups = zip(total.histograms, self.attributed.histograms, self.rest.histograms, strict=True)
        histograms = [_difference(all_, named, rest) for all_, named, rest in groups]
        return Sums({OTHER: lacking} if lacking > 0 else {}, histograms)


def _difference(total: Histogram, attributed: Histogram, rest: Histogram) -> Histogram:
    triples = zip(total.counts, attributed.counts, rest.counts, strict=True)
    counts = [max(0, all_ - named - other) for all_, named, other in triples]
    return Histogram(counts, max(0.0, total.sum - attributed.sum - rest.sum) if any(counts) else 0.0)
