"""A device on a stream of an HTTP/2 connection: a browser over TLS, where ALPN chooses h2."""

from __future__ import annotations

import trio

from trio_push.devices.connection import Connection, Transport
from trio_push.devices.delivery import Delivery
from trio_push.intake.http2 import Http2Connection


class StreamConnection(Connection):
    """Like a connection with a socket of its own; its limit is HTTP/2's flow control too."""

    __slots__ = ("_delivery", "_http2", "_is_closed", "_may_write", "_stream_id")

    def __init__(
        self,
        token: str,
        http2: Http2Connection,
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
        taken = 0 if self._http2.congested else self._http2.session.send(self._stream_id, data)
        if not taken:
            raise BlockingIOError
        self._http2.flush()
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
