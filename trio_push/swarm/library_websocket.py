"""The library device over WebSocket: trio-websocket, which nobody here wrote.

It keeps the lean one honest, and it speaks TLS. A server that hangs up instead of answering the
handshake is not noticed by the library: the time to connect runs out.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from trio_push.swarm.conversation import Conversation
from trio_push.swarm.device import ConnectFailed
from trio_push.swarm.lean_device import dial
from trio_push.swarm.population import SLOW_S, WEBSOCKET_PATH, Population
from trio_push.swarm.target import describe

#: time that closing a connection may take when everything else is cancelled
_CLOSE_S = 1


class LibraryWebSocketDevice:
    """A device on trio-websocket. `tls` is needed where the URL says https."""

    def __init__(
        self,
        index: int,
        population: Population,
        nursery: trio.Nursery,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """The library reads in tasks of its own: they run in `nursery`."""
        self.index = index
        self._population = population
        self._nursery = nursery
        self._tls = tls
        self._conversation = Conversation(index, population)
        self._connection: WebSocketConnection | None = None
        self._ended = False
        #: cancelled to leave; a scope can be entered once, so there is one for each wait
        self._present = trio.CancelScope()

    @property
    def received(self) -> int:
        return self._conversation.received

    @property
    def retry_s(self) -> float:
        return self._conversation.retry_s

    async def connect(self) -> None:
        self._connection = await self._nursery.start(self._hold)
        self._ended = False
        try:
            if (sync := self._conversation.begin()) is not None:
                await self._say(sync)
        except BaseException:
            await self.close()
            raise

    def read(self) -> bool:
        return not self._ended

    async def wait(self) -> None:
        assert self._connection is not None  # `connect` came before
        message: str | bytes | None = None
        try:
            with trio.CancelScope() as self._present:
                if self._population.reads_slowly(self.index):
                    await trio.sleep(SLOW_S)
                message = await self._connection.get_message()
        except ConnectionClosed as exc:
            self._ended = True
            if exc.reason is not None:
                self._conversation.end(exc.reason.code, exc.reason.reason or "")
            return
        self._ended = self._present.cancel_called
        if message is None:
            return
        payload = message.encode() if isinstance(message, str) else message
        for answer in self._conversation.hear(payload):
            await self._say(answer)

    def leave(self, *, suddenly: bool = False) -> bool:
        """Of what is on the way nothing more is read; the connection is closed politely."""
        self._present.cancel()
        return self._connection is not None

    async def close(self) -> None:
        assert self._connection is not None
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self._connection.aclose()
        self._connection = None

    async def _say(self, message: bytes) -> None:
        assert self._connection is not None
        with suppress(ConnectionClosed):  # the next `wait` says why
            await self._connection.send_message(message.decode())

    async def _hold(self, task_status: trio.TaskStatus[WebSocketConnection]) -> None:
        """Be connected, in a nursery that keeps what the library raises from the others."""
        started = False
        try:
            async with await self._open_stream() as stream, trio.open_nursery() as nursery:
                destination = self._population.destination
                path = destination.request_path(self.index, WEBSOCKET_PATH)
                authorization = destination.authorization(self.index)
                connection = await wrap_client_stream(
                    nursery,
                    stream,
                    destination.target.authority,
                    path,
                    extra_headers=[(b"Authorization", authorization.encode())]
                    if authorization
                    else None,
                )
                started = True
                task_status.started(connection)
        except OSError as exc:
            raise ConnectFailed(describe(exc)) from exc
        except ExceptionGroup as group:
            if not started:
                raise _failure(group.exceptions[0]) from group

    async def _open_stream(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        target = self._population.destination.target
        sock = await dial(self._population, self.index)
        plain = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        if self._tls is None:
            return plain
        return trio.SSLStream(plain, self._tls, server_hostname=target.host)


def _failure(exc: Exception) -> ConnectFailed:
    """Why it failed, in the same words each time."""
    if isinstance(exc, ConnectionRejected):
        location = dict(exc.headers).get(b"location")
        if location is not None:
            return ConnectFailed(f"redirected to {location.decode('latin-1')}")
        return ConnectFailed(f"status {exc.status_code}")
    return ConnectFailed(describe(exc))
