"""Labs for tests, in the families that a test names."""

from collections.abc import Iterator

import pytest

from agent.lab.families import IPFamily
from support.node.lab_handle import FACES, LabHandle
from support.node.labs import ip_family, labs, make_lab, no_stale_labs

__all__ = ["ip_family", "make_lab", "no_stale_labs"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with labs runs once in each family that its marker `ip_families` names."""
    marker = metafunc.definition.get_closest_marker("ip_families")
    if marker and "ip_family" in metafunc.fixturenames:
        metafunc.parametrize("ip_family", [IPFamily(name) for name in marker.args], ids=str, scope="module")


@pytest.fixture(scope="session")
def lab(no_stale_labs: None) -> Iterator[LabHandle]:
    """The faces example without an agent: the cluster as it is before any mesh."""
    with labs(IPFamily.IPV4) as make:
        yield make("", [FACES])
