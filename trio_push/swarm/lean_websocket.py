"""The lean device over WebSocket: one task, one plain socket, one small parser.

As with the lean device over SSE, what it keeps while it waits is counted in bytes: the parser of
frames exists only while something is half received.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from trio_push.errors import ProtocolError
from trio_push.swarm.conversation import Conversation
from trio_push.swarm.device import ConnectFailed
from trio_push.swarm.lean_device import ask, dial, read_size, wait_to_read
from trio_push.swarm.population import WEBSOCKET_PATH, Population
from trio_push.swarm.target import describe
from trio_push.wire import websocket_client
from trio_push.wire.close_codes import NORMAL
from trio_push.wire.http_response import ResponseParser
from trio_push.wire.websocket import Close, Event, Fault, Message, Ping, Reader

#: of one message: a server that never ends one must not fill the memory of a swarm
MAX_MESSAGE_BYTES: Final = 16 * 2**20


class LeanWebSocketDevice:
    """A device that speaks WebSocket on a non-blocking socket; no TLS."""

    __slots__ = (
        "_conversation",
        "_leaving",
        "_over",
        "_population",
        "_reader",
        "_socket",
        "index",
    )

    def __init__(self, index: int, population: Population) -> None:
        self.index = index
        self._population = population
        self._conversation = Conversation(index, population)
        self._socket: socket.socket | None = None
        #: None while nothing is half received
        self._reader: Reader | None = None
        #: a close frame was sent to end the connection, and its answer may follow
        self._leaving = False
        #: a close frame came, or none can, or the network is lost: nothing follows
        self._over = False

    @property
    def received(self) -> int:
        return self._conversation.received

    @property
    def retry_s(self) -> float:
        return self._conversation.retry_s

    async def connect(self) -> None:
        destination = self._population.destination
        key = websocket_client.new_key()
        path = destination.request_path(self.index, WEBSOCKET_PATH)
        request = websocket_client.handshake(
            path,
            destination.target.authority,
            key,
            authorization=destination.authorization(self.index),
        )
        response = ResponseParser(may_upgrade=True)
        try:
            sock = await dial(self._population, self.index)
            try:
                early = await ask(sock, request, response)
                _check(response, key)
                self._begin(sock, early)
            except BaseException:
                sock.close()
                if not response.head_complete:
                    # The server may take us for connected, and have sent what we do not have.
                    self._conversation.may_have_missed()
                raise
        except (OSError, ProtocolError) as exc:
            raise ConnectFailed(describe(exc)) from exc
        self._socket = sock

    def read(self) -> bool:
        assert self._socket is not None  # `connect` came before
        if self._over:
            return False
        try:
            data = self._socket.recv(read_size(self._population, self.index))
            if data:
                self._take(self._socket, data)
            self._over |= not data
        except BlockingIOError:
            pass
        except OSError:
            self._over = True  # reset, or it takes nothing from us: it ended either way
        return not self._over

    def wait(self) -> Awaitable[None]:
        assert self._socket is not None
        return wait_to_read(self._population, self, self._socket)

    def leave(self, *, suddenly: bool = False) -> bool:
        if self._socket is None or self._leaving or self._over:
            return False
        with suppress(OSError):
            if suddenly:
                self._over = True
                self._socket.shutdown(socket.SHUT_RDWR)
            else:
                self._leaving = True
                self._socket.send(websocket_client.close_frame(NORMAL.code))
        return True

    async def close(self) -> None:
        assert self._socket is not None
        self.leave()
        self._population.reading.forget(self._socket)
        self._socket.close()
        self._socket = None

    def _begin(self, sock: socket.socket, early: bytes) -> None:
        """Ask for what was missed, and take in what came along with the handshake."""
        self._reader = None
        self._leaving = self._over = False
        if (sync := self._conversation.begin()) is not None:
            _send(sock, websocket_client.text_frame(sync))
        if early:
            self._take(sock, early)

    def _take(self, sock: socket.socket, data: bytes) -> None:
        """Act on bytes of the server, and say at once all that is to be said. Raises OSError."""
        reader = self._reader or Reader(MAX_MESSAGE_BYTES, client=True)
        events = reader.feed(data)
        self._reader = None if reader.idle else reader
        if answers := b"".join(map(self._act, events)):
            _send(sock, answers)

    def _act(self, event: Event) -> bytes:
        """Act on one event; returns what is to be sent for it."""
        match event:
            case Message(_, payload):
                answers = self._conversation.hear(payload)
                return b"".join(map(websocket_client.text_frame, answers))
            case Ping(payload):
                return websocket_client.pong_frame(payload)
            case Close(code, reason):
                self._over = True
                if self._leaving:
                    return b""
                if code is not None:
                    self._conversation.end(code, reason)
                return websocket_client.close_frame(code)
            case Fault(why, _):
                self._over = True
                self._population.closed(f"by the device: {why.name}")
                return websocket_client.close_frame(why.code)
        return b""


def _send(sock: socket.socket, data: bytes) -> None:
    """Send it whole. A server that does not read any more is treated as gone."""
    try:
        sent = sock.send(data)
    except BlockingIOError:
        sent = 0
    if sent < len(data):
        raise BrokenPipeError("the server does not read")


def _check(response: ResponseParser, key: bytes) -> None:
    """Raise ProtocolError unless the server speaks WebSocket from now on."""
    if response.redirect:
        raise ProtocolError(f"redirected to {response.redirect}")
    if response.status != 101:
        raise ProtocolError(f"status {response.status}")
    if not websocket_client.is_answer(key, response.accept):
        raise ProtocolError("the answer to the handshake is wrong")
