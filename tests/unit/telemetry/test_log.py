"""How many lines of the log one message gets."""

import logging

from agent.telemetry.log import MOST_AT_ONCE, PER_SECOND, KeyValueFormatter, LineLimit


def record(line: int, message: str = "object not used") -> logging.LogRecord:
    return logging.LogRecord("agent", logging.WARNING, "change_queue.py", line, message, None, None)


def test_lines_of_one_place_are_limited_and_those_left_out_are_counted() -> None:
    now = 0.0
    limit = LineLimit(lambda: now)
    assert (
        sum(limit.filter(record(1, f"Route {number} not used")) for number in range(MOST_AT_ONCE + 500)) == MOST_AT_ONCE
    )
    now = 1.0
    later = [record(1) for _ in range(PER_SECOND + 5)]
    assert [limit.filter(item) for item in later] == [True] * PER_SECOND + [False] * 5
    assert "left_out=500" in KeyValueFormatter().format(later[0])
    assert "left_out" not in KeyValueFormatter().format(later[1])


def test_another_place_has_lines_of_its_own() -> None:
    limit = LineLimit(lambda: 0.0)
    while limit.filter(record(1)):
        pass
    assert limit.filter(record(2))


def test_time_brings_back_no_more_than_were_there() -> None:
    now = 0.0
    limit = LineLimit(lambda: now)
    limit.filter(record(1))
    now = 1e9
    assert sum(limit.filter(record(1)) for _ in range(2 * MOST_AT_ONCE)) == MOST_AT_ONCE
