"""What tests of the cluster need that not every provider of nodes has."""

import layout
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The marker `machines`."""
    if layout.PROVIDER == "machines":
        return
    for item in items:
        if item.get_closest_marker("machines"):
            item.add_marker(pytest.mark.skip(reason=f"not on nodes of {layout.PROVIDER}: `make cluster-test` runs it"))
