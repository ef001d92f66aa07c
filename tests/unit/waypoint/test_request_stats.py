"""What Envoy counted, as the agent reads it: differences, series that were removed, and requests in no series."""

import pytest

from agent.ir.request_stats import OTHER, Outcome, Series, Sums
from agent.waypoint.request_stats import Process, Reading, parse

WEB = Series("10.0.0.1", "shop/web:80", "shop/r/0/0", "shop/web:80/http")
FINE, FAILED = Outcome("200"), Outcome("503", "", "UF,URX")
TEXT = r"""
# TYPE envoy_weft_all_requests counter
envoy_weft_all_requests{} 9
envoy_weft_by_requests{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",o="200|-"} 3
envoy_weft_by_requests{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",o="503|UF,URX"} 1
envoy_weft_by_requests{k="fd00::1|shop/web:80@c|no-match||[\"a/b:80/h2c\"]|grpc",o="200|-|14"} 2
envoy_weft_by_requests{k="a tag of another shape",o="200|-"} 2
envoy_server_live{} 1
envoy_weft_by_duration_bucket{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",le="500"} 1
envoy_weft_by_duration_bucket{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",le="1000"} 1
envoy_weft_by_duration_bucket{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",le="5000"} 3
envoy_weft_by_duration_bucket{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http",le="+Inf"} 4
envoy_weft_by_duration_sum{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http"} 9000.5
envoy_weft_by_duration_count{k="10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http"} 4
"""


def reading(total: int, web: int | None = None, failed: int = 0) -> Reading:
    """What Envoy reports after so many requests, of which so many are in a series."""
    found = Reading(sized(total))
    if web is not None:
        found.series[WEB] = sized(web)
        found.series[WEB].outcomes = {FINE: web - failed} | ({FAILED: failed} if failed else {})
    return found


def sized(count: int) -> Sums:
    found = Sums({FINE: count})
    for histogram in found.histograms:
        histogram.counts[0], histogram.sum = count, 10.0 * count
    return found


def counts(process: Process, now: Reading) -> dict[Series | None, tuple[int, int]]:
    """For each series the new requests, by the counter and by a histogram."""
    return {series: (sums.requests, sum(sums.histograms[1].counts)) for series, sums in process.grow(now)}


def test_statistics_are_read_by_series():
    found = parse(TEXT)
    assert found.total.requests == 9
    grpc = Series("fd00::1", "shop/web:80@c", "no-match", "", ("a/b:80/h2c",), grpc=True)
    assert {series: sums.outcomes for series, sums in found.series.items()} == {
        WEB: {FINE: 3, FAILED: 1},
        grpc: {Outcome("200", "14"): 2},
    }
    duration = found.series[WEB].histograms[0]
    assert (duration.counts[:4], duration.counts[-1], duration.sum) == ([1, 0, 2, 0], 1, 9000.5)


def test_buckets_of_another_width_are_counted_where_they_end():
    key = "10.0.0.1|shop/web:80|shop/r/0/0|shop/web:80/http||http"
    lines = [f'envoy_weft_by_received_bucket{{k="{key}",le="{upper}"}} {n}' for upper, n in (("50", 1), ("2e+06", 4))]
    received = parse("\n".join(lines)).series[WEB].histograms[1]
    assert received.counts == [1, 0, 0, 0, 0, 3, 0, 0]


@pytest.mark.parametrize(("members", "read"), [("[1]", ()), ("[" * 100_000, ()), ("-", ()), (r"[\"a\"]", ("a",))])
def test_members_are_a_list_of_names_or_none(members: str, read: tuple[str, ...]):
    text = f'envoy_weft_by_requests{{k="10.0.0.1|a/b:80|r|c|{members}|http",o="200|-"}} 1'
    assert [series.members for series in parse(text).series] == [read]


@pytest.mark.parametrize("text", ["", "envoy_weft_by_requests{k=", "nothing\nof\nours"])
def test_text_of_another_shape_has_no_series(text: str):
    assert parse(text) == Reading()


def test_only_what_is_new_is_added():
    process = Process()
    assert counts(process, reading(5, 5)) == {WEB: (5, 5)}
    assert counts(process, reading(5, 5)) == {}
    assert counts(process, reading(8, 8, failed=1)) == {WEB: (3, 3)}


def test_a_series_that_was_removed_begins_at_zero():
    process = Process()
    process.grow(reading(5, 5))
    assert counts(process, reading(5)) == {}
    assert counts(process, reading(7, 2)) == {WEB: (2, 2)}


def test_a_series_that_was_removed_and_came_back_between_two_readings_loses_nothing():
    process = Process()
    process.grow(reading(5, 5))
    assert counts(process, reading(8, 3)) == {WEB: (3, 3)}
    # Again as many as before: the series does not show it, the total does.
    assert counts(process, reading(11, 3)) == {None: (3, 3)}
    assert counts(process, reading(12, 4)) == {WEB: (1, 1)}


def test_requests_in_no_series_are_other_once():
    process = Process()
    ((series, sums),) = process.grow(reading(4))
    assert (series, sums.outcomes, sums.histograms[0].sum) == (None, {OTHER: 4}, 40.0)
    assert counts(process, reading(4)) == {}
    assert counts(process, reading(6, 1)) == {WEB: (1, 1), None: (1, 1)}


def test_a_total_that_is_behind_its_series_takes_nothing_back():
    process = Process()
    assert counts(process, reading(4, 5)) == {WEB: (5, 5)}
    assert counts(process, reading(6, 5)) == {None: (1, 1)}
    assert counts(process, reading(5, 5)) == {}
