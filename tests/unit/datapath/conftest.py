"""A datapath on a fake kernel, with a clock that tests set."""

import pytest

from agent.datapath.datapath import Datapath
from agent.ir.tables import Config
from support.fakes.frontends import Clock
from support.fakes.kernel import FakeKernel


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
