"""The answer to `POST /v1/pushes`: a line for each line of the request, as they come in.

Two tasks: one reads the request and pushes, the response takes the answers. So a client may
read while it writes (HTTP/1.1 and HTTP/2 allow it) or only when it has written everything, as
many clients do; what it has not read yet is held up to ANSWERS_HELD.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from quart.wrappers.response import ResponseBody

from trio_push.api.asgi import PacedBody, ResponseAborted
from trio_push.api.ndjson import Line, LineSplitter
from trio_push.api.pusher import SLICE
from trio_push.config import SECONDS

if TYPE_CHECKING:
    from types import TracebackType

#: bytes of answers that the client has not read, per request: some 200,000 lines
ANSWERS_HELD: Final = 16 * 2**20
#: time in which a client that has answers to read neither reads nor writes
STALLED_S: Final = 60 * SECONDS


class AnswerStream(ResponseBody):
    """Pushes what arrives and yields what became of it.

    Ends with the request's body, or at `shutdown` after what has arrived by then. A client that
    has stopped reading is given up: then it raises ResponseAborted.
    """

    def __init__(
        self,
        body: PacedBody,
        push: Callable[[Sequence[Line]], Awaitable[bytes]],
        shutdown: trio.Event,
    ) -> None:
        self._body = body
        self._push = push
        self._shutdown = shutdown
        self._send, self._receive = trio.open_memory_channel[bytes](math.inf)
        #: bytes of answers that the client has not taken, and how many of them are being sent
        self._held = 0
        self._sending = 0
        self._taken = trio.Event()
        #: how often the client wrote or read
        self._moves = 0
        self._stalled = False
        self._tasks = self._run()

    async def __aenter__(self) -> AnswerStream:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, exc_type: type, exc_value: BaseException, tb: TracebackType) -> None:
        await self._tasks.__aexit__(exc_type, exc_value, tb)

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._push_all)
            nursery.start_soon(self._stop_reading_at_shutdown)
            nursery.start_soon(self._give_up_when_stalled, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()
        if self._stalled:
            raise ResponseAborted(f"the client read none of its answers for {STALLED_S} s")

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> bytes:
        self._note_sent()
        try:
            answers = await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        self._sending = len(answers)
        return answers

    def _note_sent(self) -> None:
        self._moves += 1
        self._held -= self._sending
        self._sending = 0
        self._taken.set()
        self._taken = trio.Event()

    async def _push_all(self) -> None:
        splitter = LineSplitter()
        with self._send:
            async for chunk in self._body:
                self._moves += 1
                await self._push_lines(splitter.feed(chunk))
            if not self._shutdown.is_set():
                await self._push_lines(splitter.finish())

    async def _push_lines(self, lines: Sequence[Line]) -> None:
        for start in range(0, len(lines), SLICE):
            answers = await self._push(lines[start : start + SLICE])
            self._held += len(answers)
            self._send.send_nowait(answers)
            while self._held > ANSWERS_HELD:
                await self._taken.wait()

    async def _stop_reading_at_shutdown(self) -> None:
        await self._shutdown.wait()
        self._body.set_complete()

    async def _give_up_when_stalled(self, tasks: trio.CancelScope) -> None:
        while not self._stalled:
            moves = self._moves
            await trio.sleep(STALLED_S)
            self._stalled = self._held > 0 and self._moves == moves
        tasks.cancel()
