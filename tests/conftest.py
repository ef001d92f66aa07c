"""Shared by all tests: where fakes are, and why a test that needs root is skipped."""

import os

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
# For `make mutation`: each mutant runs the whole selection.
settings.register_profile("mutation", max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the kernel, of real pods and of real clusters need root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if {"bpf", "node", "cluster"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason="needs root: loads BPF programs, or makes network namespaces"))
