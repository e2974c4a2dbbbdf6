"""What waits between a connection and its request's handler. Connections: see test_serve."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.serving import PATIENCE_S
from trio_push.api.transport import QUEUED_MESSAGES, _Messages

PART: Any = {"type": "http.request", "body": b"x", "more_body": True}
GONE: Any = {"type": "http.disconnect"}


class Reader:
    """Puts parts, as many as go."""

    def __init__(self, messages: _Messages) -> None:
        self._messages = messages
        self.put = 0

    async def run(self) -> None:
        while True:
            await self._messages.put(PART)
            await trio.lowlevel.checkpoint()
            self.put += 1


@pytest.fixture
def messages() -> _Messages:
    return _Messages()


@pytest.fixture
async def reader(messages: _Messages, nursery: trio.Nursery) -> Reader:
    """One that has put all that goes."""
    reader = Reader(messages)
    nursery.start_soon(reader.run)
    await wait_all_tasks_blocked()
    return reader


async def test_who_puts_waits_for_who_gets(messages: _Messages, reader: Reader) -> None:
    assert reader.put == QUEUED_MESSAGES
    assert await messages.get() is PART
    await wait_all_tasks_blocked()
    assert reader.put == QUEUED_MESSAGES + 1


async def test_the_news_that_the_client_has_gone_never_waits(
    messages: _Messages, reader: Reader
) -> None:
    with trio.fail_after(PATIENCE_S):
        await messages.put(GONE)
        for _ in range(QUEUED_MESSAGES):
            assert await messages.get() is PART
        assert await messages.get() is GONE


async def test_a_handler_that_has_ended_keeps_nobody_waiting(
    messages: _Messages, reader: Reader
) -> None:
    messages.close()
    with trio.fail_after(PATIENCE_S):
        while reader.put < 10 * QUEUED_MESSAGES:
            await trio.lowlevel.checkpoint()
        await messages.put(GONE)
