from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import T0
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.node import Node


@pytest.fixture
def settings() -> ServeSettings:
    return ServeSettings(mailbox_capacity=3, store_per_token=5, write_timeout_s=10)


@pytest.fixture
async def node(
    settings: ServeSettings, autojump_clock: MockClock, nursery: trio.Nursery
) -> AsyncIterator[Node]:
    """A node whose router runs, on a wall clock that follows the mock clock; books checked."""
    start = trio.current_time()
    node = Node.make(settings, Clock(wall=lambda: T0 + trio.current_time() - start))
    await nursery.start(node.router.run, node.push_channel)
    yield node
    books = node.ledger.snapshot(node.router.held())
    assert books["balanced"], books
