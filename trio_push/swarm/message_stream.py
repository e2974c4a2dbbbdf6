"""Messages over a byte stream, between a swarm and one of its workers."""

from __future__ import annotations

from collections import deque
from typing import Any

import trio

from trio_push.swarm.messages import Decoder, Message, encode

_RECEIVE_BYTES = 64 * 2**10


class MessageStream:
    """Takes over `stream`. Any number of tasks may send, one may receive."""

    def __init__(self, stream: trio.abc.Stream, kinds: Any) -> None:
        """`kinds` is the union of what the other end sends; Any, as it is no type to mypy."""
        self._stream = stream
        self._decoder = Decoder(kinds)
        self._received: deque[Any] = deque()
        self._sending = trio.Lock()

    async def send(self, *messages: Message) -> None:
        """Send them in a row. Raises trio.BrokenResourceError when nobody is there."""
        async with self._sending:
            await self._stream.send_all(b"".join(map(encode, messages)))

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> Any:
        """The next message of `kinds`, until the other end has gone. Raises ProtocolError."""
        while not self._received:
            try:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise StopAsyncIteration
            self._received.extend(self._decoder.feed(data))
        return self._received.popleft()
