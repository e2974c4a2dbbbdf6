"""The WebSocket transport: a push as a frame, and what becomes of the frames of devices.

A device costs its task, its socket and one connection object: the parser of its frames exists
only while something is half received, and how much it says is measured by one number. Made by
the server, one per node; the front door makes the connections. What the messages of devices
mean is not known here: see `Hear`.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from trio_push.devices.connection import HEARD, Connection
from trio_push.devices.delivery import Delivery
from trio_push.push import Push
from trio_push.sockets import WOULD_BLOCK
from trio_push.wire import messages, websocket
from trio_push.wire.close_codes import FLOOD, UNSUPPORTED_DATA, CloseCode
from trio_push.wire.messages import (
    UNSUPPORTED,
    Ack,
    Auth,
    Error,
    FromDevice,
    FromServer,
    Sync,
    SyncResult,
)
from trio_push.wire.websocket import Close, Event, Fault, Message, Ping, Reader

#: Acts on a message, in the task of its device and without waiting; returns the answer, if any.
Hear = Callable[[Connection, FromDevice], FromServer | None]


def decline(_: Connection, message: FromDevice) -> FromServer:
    """The `Hear` of a server that acts on nothing."""
    return Error(UNSUPPORTED.name, UNSUPPORTED.meaning)


def shown_jwt(event: Event) -> bytes:
    """The JWT in the first thing that a device says; b"" when there is none."""
    if isinstance(event, Message) and event.is_text:
        said = messages.decode(event.payload)
        if isinstance(said, Auth):
            return said.token.encode()
    return b""


class Limits(NamedTuple):
    """How much a device may say."""

    #: of one message; the longest that makes sense holds a JWT
    message_bytes: float = 16_384
    #: at once, and in the long run: 100 a second take half a percent of a CPU
    burst_frames: float = 1_000
    frames_per_s: float = 100


#: What a message counts for that costs more or less than other frames. Who gets many pushes may
#: acknowledge all of them; who resumes gets up to all that is remembered for it, once.
FRAMES = {Ack: 0.1, Sync: 100.0}


class WebSocketConnection(Connection):
    """A device that speaks. Closing it leaves the socket to its task, which reads to the end."""

    __slots__ = ("_closed", "_transport", "mark", "paid_until", "reader")

    def __init__(
        self, token: str, sock: socket.socket, transport: WebSocketTransport, connected_at: float
    ) -> None:
        super().__init__(token, sock, transport, connected_at)
        self._transport = transport
        self._closed = False
        #: of the history when the device came: what was delivered later it has been sent here
        self.mark = 0
        #: None while nothing is half received
        self.reader: Reader | None = None
        #: trio's time when it was last heard; or after that, when what it said will be paid for
        self.paid_until = trio.current_time()

    @property
    def closed(self) -> bool:
        return self._closed

    def silent_s(self, now: float) -> float:
        return now - self.paid_until

    def take_in(self) -> bool:
        """Act on what has come from the device: False at its end. Raises OSError."""
        while True:
            try:
                data = self.sock.recv(HEARD)
            except WOULD_BLOCK:
                return True
            if not data:
                return False
            self._transport.heard(self, data)
            # What TLS has decrypted already makes no socket readable.
            if self._closed or not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                return True

    def send(self, data: bytes) -> int:
        if self._closed:
            raise BrokenPipeError
        return super().send(data)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.sock)


class WebSocketTransport:
    """Frames pushes as messages, and acts on frames."""

    name = "ws"
    keepalive = websocket.PING

    def __init__(
        self,
        delivery: Delivery,
        hear: Hear = decline,
        limits: Limits = Limits(),  # noqa: B008
        *,
        epoch: str = "",
    ) -> None:
        self._epoch = epoch
        self._delivery = delivery
        self._hear = hear
        self._limits = limits

    def frame(self, seq: int, push: Push) -> bytes:
        return websocket.text_frame(messages.pushed(self._epoch, seq, push))

    def sync_result(self, since: int, until: int, *, recovered: bool) -> bytes:
        return websocket.text_frame(
            messages.encode(SyncResult(recovered, self._epoch, from_=since, to=until))
        )

    def farewell(self, why: CloseCode, retry_ms: int | None = None) -> bytes:
        reason = why.name if retry_ms is None else f"retry: {retry_ms}"
        return websocket.close_frame(why.code, reason)

    def reader(self) -> Reader:
        """A new one; it goes where the connection goes only while it is not idle."""
        return Reader(self._limits.message_bytes)

    def heard(self, connection: WebSocketConnection, data: bytes) -> None:
        """Act on bytes from a device; it may be closed after that."""
        reader = connection.reader or self.reader()
        self.act(connection, reader, reader.feed(data))

    def act(self, connection: WebSocketConnection, reader: Reader, events: Sequence[Event]) -> None:
        """Act on what the reader made of the last bytes from a device."""
        connection.reader = None if reader.idle else reader
        frames: float = reader.frames_read
        for event in events:
            frames += self._act(connection, event)
            if connection.closed:
                return
        if not self._affords(connection, frames, trio.current_time()):
            self._expel(connection, FLOOD, FLOOD.name)

    def _affords(self, connection: WebSocketConnection, frames: float, now: float) -> bool:
        """Count frames against what a device may say.

        A token bucket of which only the time is kept at which it will be full again (it is
        known as the generic cell rate algorithm).
        """
        _, burst, per_s = self._limits
        connection.paid_until = max(connection.paid_until, now) + frames / per_s
        return connection.paid_until - now <= burst / per_s

    def _act(self, connection: WebSocketConnection, event: Event) -> float:
        """Act on one event; returns for how many frames more than it has it counts."""
        match event:
            case Message():
                return self._answer(connection, event)
            case Ping(payload):
                self._delivery.reply(connection, websocket.pong_frame(payload))
            case Close(code):
                self._delivery.reply(connection, websocket.close_frame(code))
                self._delivery.disconnect(connection)
            case Fault(why, detail):
                self._expel(connection, why, detail)
        return 0.0

    def _answer(self, connection: WebSocketConnection, message: Message) -> float:
        if not message.is_text:
            self._expel(connection, UNSUPPORTED_DATA, UNSUPPORTED_DATA.name)
            return 0.0
        said = messages.decode(message.payload)
        answer = said if isinstance(said, Error) else self._hear(connection, said)
        if answer is not None:
            self._delivery.reply(connection, websocket.text_frame(messages.encode(answer)))
        return FRAMES.get(type(said), 1.0) - 1.0

    def _expel(self, connection: WebSocketConnection, why: CloseCode, detail: str) -> None:
        self._delivery.dismissed[why.name] += 1
        self._delivery.reply(connection, websocket.close_frame(why.code, detail))
        self._delivery.disconnect(connection)


class EchoTransport(WebSocketTransport):
    """Says back whatever it is told, as test suites of the protocol want it."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__(delivery, limits=Limits(message_bytes=math.inf, burst_frames=math.inf))

    def _answer(self, connection: WebSocketConnection, message: Message) -> float:
        frame = websocket.text_frame if message.is_text else websocket.binary_frame
        self._delivery.reply(connection, frame(message.payload))
        return 0.0
