"""What a device does about a push: after a think time it calls a URL, as one that checks in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

import trio

from trio_push.swarm.http1 import Http1Connection, NoAnswer
from trio_push.swarm.target import Target

#: calls at the same time, each on a connection of its own
CONNECTIONS = 32
#: calls that may wait for their time or for a connection: some 50 MB of payloads
CAPACITY = 100_000


class _Call(NamedTuple):
    #: trio's time
    at: float
    token: str
    body: bytes


@dataclass(slots=True)
class Calls:
    """Counts of calls."""

    #: answered with a status below 400
    succeeded: int = 0
    #: answered with another one, or not at all
    failed: int = 0
    #: not made, because too many were waiting
    skipped: int = 0
    #: waiting or under way
    open: int = 0


class OnPush:
    """Makes the calls; `target.path` may have a {token} in it."""

    def __init__(self, target: Target, tokens: Sequence[str], think_s: float) -> None:
        self.calls = Calls()
        self._target = target
        self._tokens = tokens
        self._think_s = think_s
        self._head = (
            f"Host: {target.authority}\r\nContent-Type: application/json\r\nContent-Length: "
        )
        self._queue, self._todo = trio.open_memory_channel[_Call](CAPACITY)

    def received(self, index: int, data: str) -> None:
        """A device received a push; never blocks."""
        at = trio.current_time() + self._think_s
        try:
            self._queue.send_nowait(_Call(at, self._tokens[index], data.encode()))
        except trio.WouldBlock:
            self.calls.skipped += 1
        else:
            self.calls.open += 1

    async def run(self) -> None:
        """Make the calls until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        connection = Http1Connection(self._target)
        try:
            async for call in self._todo:
                await trio.sleep_until(call.at)
                await self._make(call, connection)
        finally:
            connection.close()

    async def _make(self, call: _Call, connection: Http1Connection) -> None:
        try:
            await connection.wait_open()
            answer = await connection.exchange(self._request(call))
            failed = answer.status >= 400
        except NoAnswer:
            failed = True
        if failed:
            self.calls.failed += 1
        else:
            self.calls.succeeded += 1
        self.calls.open -= 1

    def _request(self, call: _Call) -> bytes:
        path = (self._target.path or "/").replace("{token}", quote(call.token, safe=""))
        head = f"POST {path} HTTP/1.1\r\n{self._head}{len(call.body)}\r\n\r\n"
        return head.encode() + call.body
