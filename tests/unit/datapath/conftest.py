"""A datapath on a fake kernel, with a clock that tests set."""

import pytest
from example_frontends import Clock
from fake_kernel import FakeKernel

from agent.datapath.datapath import Datapath
from agent.ir.tables import Config


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def datapath(kernel: FakeKernel, clock: Clock) -> Datapath:
    made = Datapath(kernel, Config(), clock)
    made.adopt()
    return made
