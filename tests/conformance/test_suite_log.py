"""What is read from the log of the conformance suite."""

from datetime import timedelta

import pytest
import suite_log

LOG = """\
=== RUN   TestConformance/MeshBasic
--- FAIL: TestConformance (201.50s)
    --- SKIP: TestConformance/GatewayInfrastructure (0.00s)
    --- PASS: TestConformance/MeshBasic (0.61s)
        --- PASS: TestConformance/MeshBasic/Send_to_service (0.60s)
    --- FAIL: TestConformance/MeshTrafficSplit (15.70s)
        --- PASS: TestConformance/MeshTrafficSplit/0_request_to_'echo-v1/'_should_receive_a_200 (0.40s)
FAIL
"""


def test_each_test_that_ran_has_one_verdict() -> None:
    assert suite_log.verdicts(LOG) == {"MeshBasic": "PASS", "MeshTrafficSplit": "FAIL"}


def test_a_suite_that_came_to_run_nothing_is_no_success() -> None:
    with pytest.raises(ValueError, match="connection refused"):
        suite_log.verdicts("suite.go:321: connection refused\n--- FAIL: TestConformance (0.01s)\n")


# Go writes no zeros at the end of a time's fraction.
STRICT = """\
=== RUN   TestConformance/MeshBasic
=== RUN   TestConformance/MeshBasic/0_request
    pod.go:70: 2026-11-21T11:25:10.100000000Z: Got resp RawContent:       [0] Url=http://echo/
    pod.go:70: 2026-11-21T11:25:10.200000000Z: Got resp RawContent:       [0] Url=http://echo/
    pod.go:70: 2026-11-21T11:25:10.300000000Z: Got resp RawContent:       [0] Url=http://echo/
=== RUN   TestConformance/MeshSplit
    apply.go:271: 2026-11-21T11:25:11.000000001Z: Creating mesh-split HTTPRoute
=== RUN   TestConformance/MeshSplit/0_request
=== PAUSE TestConformance/MeshSplit/0_request
=== RUN   TestConformance/MeshSplit/1_request
    pod.go:70: 2026-11-21T11:25:11.100000000Z: Got resp RawContent:       [0] Url=http://echo/v2
    pod.go:70: 2026-11-21T11:25:11.200000000Z: Got resp RawContent:       [0] Url=http://echo/v2
=== CONT  TestConformance/MeshSplit/0_request
    pod.go:70: 2026-11-21T11:25:11.15Z: Got resp RawContent:       [0] Url=http://echo/v1
=== CONT  TestConformance/MeshSplit/1_request
    pod.go:70: 2026-11-21T11:25:11.300000000Z: Got resp RawContent:       [0] Url=http://echo/v2
=== CONT  TestConformance/MeshSplit/0_request
    pod.go:70: 2026-11-21T11:25:11.250000000Z: Got resp RawContent:       [0] Url=http://echo/v1
=== RUN   TestConformance/MeshFailed/0_request
    pod.go:70: 2026-11-21T11:25:12.250000000Z: Got resp RawContent:       [0] Url=http://echo/v1
--- FAIL: TestConformance (201.50s)
    --- PASS: TestConformance/MeshBasic (0.61s)
    --- PASS: TestConformance/MeshSplit (0.61s)
    --- FAIL: TestConformance/MeshFailed (15.70s)
"""


def test_the_least_of_the_proofs_of_what_passed_says_how_strict_the_run_was() -> None:
    assert suite_log.fewest_answers(STRICT) == 2


def test_a_route_has_effect_when_the_row_of_right_answers_begins() -> None:
    assert list(suite_log.effects(STRICT)) == [timedelta(milliseconds=150)]
