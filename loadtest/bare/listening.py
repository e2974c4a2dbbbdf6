"""What the bare loops share: a listening socket, batched accept, non-blocking reads and writes.

A loop says where it listens in one JSON line, and ends when its standard input does, so that
none outlives the run that started it.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

_BACKLOG: Final = 4096
_RECEIVE_BYTES: Final = 65536

Handler = Callable[[socket.socket], Awaitable[None]]


async def serve(handle: Handler) -> None:
    """Accept on a free port of 127.0.0.1, one task per connection, until stdin ends.

    `handle` closes its connection and keeps OSError to itself.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        listener.setblocking(False)
        host, port = listener.getsockname()
        url = f"http://{host}:{port}"
        print(json.dumps({"event": "listening", "listener": "wire", "url": url}), flush=True)
        # as the server does: without it the collector walks every parked task again and again
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_accept, nursery, listener, handle)
            await trio.lowlevel.wait_readable(sys.stdin.fileno())
            nursery.cancel_scope.cancel()


async def _accept(nursery: trio.Nursery, listener: socket.socket, handle: Handler) -> None:
    while True:
        await trio.lowlevel.wait_readable(listener)
        while True:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                break
            connection.setblocking(False)
            nursery.start_soon(handle, connection)


async def receive(connection: socket.socket) -> bytes:
    """Wait for bytes; b"" is the end. Raises OSError when the connection was reset."""
    await trio.lowlevel.wait_readable(connection)
    return connection.recv(_RECEIVE_BYTES)


async def send(connection: socket.socket, data: bytes) -> None:
    """Write all of `data`; waits only when the kernel takes no more. Raises OSError."""
    while data:
        try:
            data = data[connection.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(connection)
