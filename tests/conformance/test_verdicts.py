"""What is read from the log of the conformance suite."""

import conformance
import pytest

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
    assert conformance.verdicts(LOG) == {"MeshBasic": "PASS", "MeshTrafficSplit": "FAIL"}


def test_a_suite_that_came_to_run_nothing_is_no_success() -> None:
    with pytest.raises(ValueError, match="connection refused"):
        conformance.verdicts("suite.go:321: connection refused\n--- FAIL: TestConformance (0.01s)\n")
