"""A node for each test of the loop."""

from collections.abc import AsyncIterator

import pytest
from core_node import Node
from fake_kernel import FakeKernel


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node(FakeKernel())
    yield made
    await made.kill()
