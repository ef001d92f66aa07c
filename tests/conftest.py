"""Shared by all tests: where fakes are, and why a test that needs root is skipped."""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# Agents and controllers that tests start end with the first internal error, so that none is overlooked.
os.environ.setdefault("WEFT_STRICT", "1")

# Assertions of what tests share say what they compared, as those of tests do.
pytest.register_assert_rewrite("support")

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# For `make mutation`: each mutant runs the whole selection.
settings.register_profile("mutation", max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_addoption(parser: pytest.Parser) -> None:
    """CI must not pass by leaving tests out."""
    parser.addoption("--no-skips", action="store_true", help="fail when a test was skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the kernel, of real pods and of real clusters need root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if {"bpf", "node", "cluster"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason="needs root: loads BPF programs, or makes network namespaces"))


def skipped(config: pytest.Config) -> Counter[str]:
    """Reasons of what was skipped, and how many tests each."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """`--no-skips`."""
    if session.config.getoption("--no-skips") and skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The last word on what was skipped; each reason ends with the command that brings what is missing."""
    for reason, count in sorted(skipped(config).items()):
        terminalreporter.write_line(f"skipped {count} tests: {reason}", yellow=True)
