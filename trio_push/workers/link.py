"""The control channel between the parent and one worker, seen from either end.

Sending never waits: what a peer does not read is queued, and one that has stopped reading
altogether is cut off from further messages, not waited for.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from trio_push.workers.messages import Message, Unframer, frame

#: messages that wait for a peer that does not read: questions of a watcher for some minutes
CAPACITY = 256
#: time that a peer has to take what was said last
LAST_WORDS_S = 1.0


class Link:
    """One end. Made by `open_link`; messages come by iterating."""

    def __init__(self, stream: trio.SocketStream, kinds: Any) -> None:
        self._stream = stream
        self._unframer = Unframer(kinds)
        #: messages that have come and were not asked for yet
        self._heard: deque[Any] = deque()
        self._queue, self._queued = trio.open_memory_channel[bytes](CAPACITY)

    def send(self, message: Message) -> bool:
        """Queue a message; False when the peer is gone or has long stopped reading."""
        try:
            self._queue.send_nowait(frame(message))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def __aiter__(self) -> Link:
        """What the peer says, until it is gone."""
        return self

    async def __anext__(self) -> Any:
        while not self._heard:
            try:
                data = await self._stream.receive_some()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise StopAsyncIteration from None
            if not data:
                raise StopAsyncIteration
            self._heard.extend(self._unframer.feed(bytes(data)))
        return self._heard.popleft()

    async def run(self) -> None:
        """Send what is queued, until the queue is closed or the peer gone."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in self._queued:
                await self._stream.send_all(data)
        self._queued.close()

    def close_queue(self) -> None:
        """Nothing more is to be said."""
        self._queue.close()


@asynccontextmanager
async def open_link(sock: socket.socket, kinds: Any) -> AsyncIterator[Link]:
    """A link on `sock`, which it closes, to a peer that says messages of `kinds`.

    At the end of the block what was said last has a second to get there.
    """
    sock.setblocking(False)
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    async with stream, trio.open_nursery() as nursery:
        link = Link(stream, kinds)
        sent = trio.Event()

        async def send() -> None:
            await link.run()
            sent.set()

        nursery.start_soon(send)
        try:
            yield link
        finally:
            link.close_queue()
            with trio.move_on_after(LAST_WORDS_S, shield=True):
                await sent.wait()
            nursery.cancel_scope.cancel()
