"""A node for each test of the loop."""

from collections.abc import AsyncIterator

import pytest

from support.fakes.kernel import FakeKernel
from support.fakes.node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node(FakeKernel())
    yield made
    await made.kill()
