"""A device on a stream of an HTTP/2 connection: a browser over TLS, where ALPN chooses h2."""

from __future__ import annotations

import socket
from typing import Protocol

import trio

from trio_push.devices.connection import Connection, Transport
from trio_push.devices.delivery import Delivery


class Streams(Protocol):
    """The connection that carries the stream, and others beside it."""

    sock: socket.socket

    def send(self, stream_id: int, data: bytes) -> int:
        """Send what flow control and the socket let through at once: the bytes taken."""

    def drop_device(self, stream_id: int) -> None:
        """End the stream."""


class StreamConnection(Connection):
    """Like a connection with a socket of its own; its limit is HTTP/2's flow control too."""

    __slots__ = ("_delivery", "_http2", "_is_closed", "_may_write", "_stream_id")

    def __init__(
        self,
        token: str,
        http2: Streams,
        stream_id: int,
        transport: Transport,
        connected_at: float,
        delivery: Delivery,
    ) -> None:
        super().__init__(token, http2.sock, transport, connected_at)
        self._http2 = http2
        self._stream_id = stream_id
        self._delivery = delivery
        self._is_closed = False
        self._may_write = trio.Event()

    @property
    def closed(self) -> bool:
        return self._is_closed

    def send(self, data: bytes) -> int:
        if self._is_closed:
            raise BrokenPipeError
        taken = self._http2.send(self._stream_id, data)
        if not taken:
            raise BlockingIOError
        return taken

    async def wait_writable(self) -> None:
        self._may_write = trio.Event()
        await self._may_write.wait()
        if self._is_closed:
            raise trio.ClosedResourceError

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._may_write.set()
            self._http2.drop_device(self._stream_id)

    # -- called by the HTTP/2 connection

    def writable(self) -> None:
        self._may_write.set()

    def lost(self) -> None:
        self._is_closed = True
        self._may_write.set()
        self._delivery.disconnect(self)
