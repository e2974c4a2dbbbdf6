"""Small servers that do as a test tells them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from trio_push.swarm.target import Target, look_up

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Connection: close\r\n\r\n"
)

#: what a server does with a connection and the first request on it; then it is closed
Handler = Callable[[trio.SocketStream, bytes], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Target]:
    """A server on a free port."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                if request := await read_request(stream):
                    await handler(stream, request)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        yield await look_up(f"http://127.0.0.1:{port}", "--url")
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    """Head and body of a request; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


async def unused_target() -> Target:
    """Where nothing listens."""
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        return await look_up(f"http://127.0.0.1:{sock.getsockname()[1]}", "--url")
