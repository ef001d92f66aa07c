"""Refusals, pauses and lines: what talking to an API server is made of."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backoff import FIRST_SECONDS, MOST_SECONDS, Backoff
from agent.kube.errors import ApiError, api_error
from agent.kube.lines import MAX_LINE, LineSplitter, LineTooLongError


@pytest.mark.parametrize(
    ("body", "status", "header", "expected"),
    [
        (b'{"code": 410, "message": "too old"}', None, "", (410, 0.0, "410: too old")),
        (b'{"code": 409, "reason": "Conflict"}', 409, "", (409, 0.0, "409: Conflict")),
        (b'{"message": "m", "details": {"retryAfterSeconds": 2}}', 429, "1", (429, 2.0, "429: m")),
        (b'{"message": "m", "details": null}', 429, "3", (429, 3.0, "429: m")),
        (b"<html>busy</html>", 503, "Wed, 21 Oct 2026 07:28:00 GMT", (503, 0.0, "503: <html>busy</html>")),
        (b"\xff", 500, "", (500, 0.0, "500: \ufffd")),
    ],
)
def test_a_refusal_is_read_whoever_answered(body, status, header, expected):
    error = api_error(body, status, header)
    assert (error.status, error.retry_after, str(error)) == expected


def test_only_gone_is_gone():
    assert [ApiError(status, "").gone for status in (0, 404, 410)] == [False, False, True]


def test_pauses_grow_to_an_end_and_begin_again():
    backoff = Backoff(lambda: 1.0)
    pauses = [backoff.failed() for _ in range(10)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_SECONDS, MOST_SECONDS)
    backoff.succeeded()
    assert backoff.failed() == FIRST_SECONDS


def test_a_pause_is_never_shorter_than_asked_for_and_never_the_same_for_all():
    assert Backoff(lambda: 0.0).failed(7.0) == 7.0
    assert Backoff(lambda: 0.5).failed(7.0) == 7.0 + FIRST_SECONDS / 2


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 200)))
def test_lines_are_the_same_however_they_come(lines, cuts):
    stream = b"".join(line + b"\n" for line in lines)
    marks = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    split = LineSplitter()
    found = [line for a, b in itertools.pairwise(marks) for line in split.feed(stream[a:b])]
    assert found == lines


def test_a_line_without_an_end_is_none():
    assert list(LineSplitter().feed(b"a\nb")) == [b"a"]


def test_a_line_has_a_longest():
    split = LineSplitter()
    assert list(split.feed(b"x" * MAX_LINE)) == []
    with pytest.raises(LineTooLongError):
        list(split.feed(b"x"))
