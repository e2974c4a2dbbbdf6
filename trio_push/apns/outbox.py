"""Hands results to whoever takes them, in the order they came. Used by the client alone.

It is no buffer: what lies here still holds its place on a connection, so there is never more of
it than may be in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from trio_push.apns.connection import Connection
from trio_push.apns.request import Result


class Outbox:
    """`delivered` hears of the connection whose result was taken."""

    def __init__(
        self, results: trio.MemorySendChannel[Result], delivered: Callable[[Connection], None]
    ) -> None:
        self._results = results
        self._delivered = delivered
        self._lying: deque[tuple[Result, Connection | None]] = deque()
        self._came = trio.Event()
        self._empty = trio.Event()
        self._empty.set()
        #: when the first of those that lie here came, and how long others have lain before
        self._since = 0.0
        self._waited_s = 0.0
        self._was_empty = True

    def __len__(self) -> int:
        return len(self._lying)

    def put(self, result: Result, holder: Connection | None) -> None:
        if not self._lying:
            self._since = trio.current_time()
            self._empty = trio.Event()
        self._lying.append((result, holder))
        self._came.set()

    def has_waited(self) -> bool:
        """Whether results have lain here at every moment since the last call."""
        waited = not self._was_empty
        self._was_empty = not self._lying
        return waited

    def waited_s(self) -> float:
        """For how long, in sum, results have lain here."""
        return self._waited_s + (trio.current_time() - self._since if self._lying else 0.0)

    async def wait_empty(self) -> None:
        await self._empty.wait()

    async def run(self) -> None:
        while True:
            if self._lying:
                await self._hand_over_all()
            self._was_empty = True
            self._empty.set()
            self._came = trio.Event()
            await self._came.wait()

    async def _hand_over_all(self) -> None:
        while self._lying:
            await self._hand_over(self._lying[0][0])
            _, holder = self._lying.popleft()
            if holder is not None:
                self._delivered(holder)
        self._waited_s += trio.current_time() - self._since

    def close(self) -> None:
        self._results.close()

    async def _hand_over(self, result: Result) -> None:
        try:
            self._results.send_nowait(result)
        except trio.WouldBlock:
            await self._send(result)
        except trio.BrokenResourceError:
            # nobody wants results: then they count as taken
            await trio.lowlevel.checkpoint()

    async def _send(self, result: Result) -> None:
        with suppress(trio.BrokenResourceError):
            await self._results.send(result)
