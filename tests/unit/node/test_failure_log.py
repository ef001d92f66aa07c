"""Log lines about objects that do not fit: one for each change, however many objects it concerns."""

import logging

import pytest

from agent.node.failure_log import NAMED, FailureLog


def test_one_line_names_a_few_objects_and_counts_all(caplog: pytest.LogCaptureFixture) -> None:
    failures = {f"app/s{number:04}": "full" for number in range(5000)}
    log = FailureLog()
    with caplog.at_level(logging.INFO):
        log.show(failures)
        log.show(failures)
        log.show({"app/s0000": "full"})
    refused, fits = caplog.records
    names = vars(refused)["objects"].removesuffix(", …").split(", ")
    assert (names, vars(refused)["all"]) == (sorted(failures)[:NAMED], 5000)
    assert (vars(fits)["objects"], vars(fits)["left"]) == (4999, 1)
