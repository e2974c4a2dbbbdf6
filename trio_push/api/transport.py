"""One connection of an API client: Hypercorn's, on a plain socket, with our tasks.

Made by `serve.py` for each connection that it accepts. Whatever a client sends, at worst its own
connection ends; a reader waits while the application has enough to do, and an application that
has ended does not keep it waiting.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from trio_push.api.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.config import Config
    from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

#: messages (reads of a socket, up to 64 KiB each) that wait for one request's handler
QUEUED_MESSAGES = 4
#: time, and bytes, for which a client is heard out that does not notice that we have closed
LINGER_S = 2.0
LINGER_BYTES = 64 * 2**20
MAX_READ = 2**16


class Connection(TCPServer):
    """Serves one client until it has gone, or a fault, which is raised, ends the connection."""

    protocol: _Protocol

    async def run(self) -> None:
        try:
            sock = self.stream.socket
            client = parse_socket_addr(sock.family, sock.getpeername())
            server = parse_socket_addr(sock.family, sock.getsockname())
            async with _AppTasks() as self._task_group:
                self.protocol = _Protocol(
                    self.app,
                    self.config,
                    self.context,
                    self._task_group,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                    "http/1.1",
                )
                await self.protocol.initiate()
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                with self.protocol.reading:
                    await self._read_data()
                await self.idle_task.stop()
        except OSError:
            pass  # the client has gone
        finally:
            await self._close()
            await self._linger()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated) and self.protocol.reading.cancel_called:
            return  # Hypercorn would hold a connection that is closed until its idle timer ends
        await super().protocol_send(event)

    async def _close(self) -> None:
        """Say no more. Hypercorn calls this, also while the reader still reads."""
        with suppress(OSError):
            self.stream.socket.shutdown(socket.SHUT_WR)

    async def _linger(self) -> None:
        """Hear a client out that is still sending, then close.

        It is to read why it was refused: data that nobody has read turns a close into a reset,
        which takes our answer with it.
        """
        read = 0
        with (
            trio.move_on_after(LINGER_S),
            suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            while read < LINGER_BYTES and (data := await self.stream.receive_some(MAX_READ)):
                read += len(data)
        await self.stream.aclose()

    def abort(self) -> None:
        """Close the socket under whoever waits for it.

        Hypercorn shields its sends from cancellation: a client that does not read could
        otherwise not be got rid of.
        """
        self.stream.socket.close()


class _Protocol(ProtocolWrapper):
    """HTTP/1.1 until the client shows that it means HTTP/2."""

    def __init__(self, *args: Any) -> None:  # Hypercorn's own ten, handed through
        super().__init__(*args)
        #: Cancelled once the connection is closed. A reader that waits for a response to be
        #: complete, since another request has arrived, would not notice.
        self.reading = trio.CancelScope()

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
            if isinstance(event, Closed):
                self.reading.cancel()
        except H2ProtocolAssumedError as preface:
            await self._switch(preface.data)
        except H2CProtocolRequiredError as upgrade:
            await self._switch(upgrade.data, upgrade.headers, upgrade.settings)

    async def _switch(self, data: bytes, *upgrade: Any) -> None:
        self.protocol = Http2(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.state,
            self.ssl,
            self.client,
            self.server,
            self.send,
        )
        await self.protocol.initiate(*upgrade)
        if data:
            await self.protocol.handle(RawData(data=data))


class _AppTasks(TaskGroup):
    """The tasks of one connection."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        messages = _Messages()

        async def run_app(
            scope: Scope, receive: Any, send: Any, sync_spawn: Any, call_soon: Any
        ) -> None:
            try:
                await app(scope, messages.get, send, sync_spawn, call_soon)
            finally:
                messages.close()

        await super().spawn_app(run_app, config, scope, send)
        return messages.put


class _Messages:
    """What was read for one request and waits for its handler.

    Unlike Hypercorn's channel, `put` does not wait for a handler that has ended, nor ever with
    the news that the client has gone: both would hold the connection for ever.
    """

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Any](math.inf)
        self._room = trio.Semaphore(QUEUED_MESSAGES)

    async def put(self, message: ASGIReceiveEvent) -> None:
        if message["type"] == "http.request":
            await self._room.acquire()
        try:
            self._send.send_nowait(message)
        except trio.BrokenResourceError:
            self._room.release()

    async def get(self) -> ASGIReceiveEvent:
        message: ASGIReceiveEvent = await self._receive.receive()
        self._room.release()
        return message

    def close(self) -> None:
        """Nobody gets any more: let go who waits to put."""
        self._receive.close()
        self._room.release()
