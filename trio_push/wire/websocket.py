"""The frames of a WebSocket (RFC 6455, section 5): the server's as bytes, a device's as events.

What a device sends is parsed by wsproto's frame layer; what the server sends is a header in
front of a payload, made once for all who get it. Called by the WebSocket transport; the swarm's
devices read what a server sends with the same parser. Pure.
"""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    MessageDecoder,
    Opcode,
    ParseFailed,
)

from trio_push.wire.close_codes import CLOSE_CODES, TOO_BIG, CloseCode

# -- the server's frames: whole messages, never masked

_FIN: Final = 0x80
#: bytes of a control frame's payload, and of the code in front of a close frame's reason
_MAX_CONTROL: Final = 125
_CODE_BYTES: Final = 2


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", _FIN | opcode, 127, size) + payload


def text_frame(payload: bytes) -> bytes:
    """A text message; the payload must be UTF-8."""
    return _frame(Opcode.TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    return _frame(Opcode.BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping, with its payload."""
    return _frame(Opcode.PONG, payload)


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; a reason that is too long loses its end."""
    if code is None:
        return _frame(Opcode.CLOSE, b"")
    text = reason.encode()[: _MAX_CONTROL - _CODE_BYTES].decode(errors="ignore")
    return _frame(Opcode.CLOSE, struct.pack("!H", code) + text.encode())


PING: Final = _frame(Opcode.PING, b"")

# -- what the other side sends


class Message(Struct, frozen=True):
    """A whole message. The payload of a text is UTF-8."""

    is_text: bool
    payload: bytes


class Ping(Struct, frozen=True):
    payload: bytes


class Pong(Struct, frozen=True):
    payload: bytes


class Close(Struct, frozen=True):
    """The peer ends the connection, or agrees to its end. Nothing follows."""

    #: to be sent back; None: it gave none
    code: int | None
    reason: str = ""


class Fault(Struct, frozen=True):
    """The peer broke the protocol: the connection is to be closed so. Nothing follows."""

    why: CloseCode
    detail: str


Event = Message | Ping | Pong | Close | Fault


class Reader:
    """Makes events of the bytes of one peer. Once `idle` it may be forgotten for a new one."""

    def __init__(self, max_message: float, *, client: bool = False) -> None:
        """`client`: these are the bytes of a server, as a device reads them."""
        self._max_message = max_message
        self._frames = FrameDecoder(client=client)
        self._messages = MessageDecoder()
        #: of the message that is half received
        self._pieces: list[bytes] = []
        self._size = 0
        #: frames that the last `feed` has read
        self.frames_read = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is half received, neither a frame nor a message."""
        frames = self._frames
        return not frames.buffer and frames.header is None and self._messages.opcode is None

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. After a Close or a Fault there is nothing to feed."""
        self.frames_read = 0
        self._frames.receive_bytes(data)
        events: list[Event] = []
        try:
            while (frame := self._frames.process_buffer()) is not None:
                event = self._control(frame) if frame.opcode.iscontrol() else self._data(frame)
                if event is not None:
                    events.append(event)
                    if isinstance(event, Close | Fault):
                        break
        except ParseFailed as error:
            events.append(Fault(CLOSE_CODES[error.code], str(error)))
        return events

    def _control(self, frame: Frame) -> Event:
        self.frames_read += 1
        payload = frame.payload
        assert isinstance(payload, bytes)
        if frame.opcode is Opcode.PING:
            return Ping(payload)
        if frame.opcode is Opcode.PONG:
            return Pong(payload)
        return _close(payload)

    def _data(self, frame: Frame) -> Event | None:
        """A frame comes in the pieces in which its bytes do: too long a one is noticed early."""
        self.frames_read += frame.frame_finished
        piece = frame.payload
        assert isinstance(piece, bytes)
        self._size += len(piece)
        if self._size > self._max_message:
            return Fault(TOO_BIG, f"a message is longer than {self._max_message} bytes")
        if piece:
            self._pieces.append(piece)
        frame = self._messages.process_frame(frame)
        if not frame.message_finished:
            return None
        message = Message(frame.opcode is Opcode.TEXT, b"".join(self._pieces))
        self._pieces = []
        self._size = 0
        return message


def _close(payload: bytes) -> Close:
    """What the payload of a close frame says. Raises ParseFailed when it must not be there."""
    judge = FrameProtocol(client=True, extensions=[])
    judge.receive_bytes(_frame(Opcode.CLOSE, payload))
    (frame,) = judge.received_frames()
    assert isinstance(frame.payload, tuple)
    code, reason = frame.payload
    return Close(None if code == CloseReason.NO_STATUS_RCVD else int(code), reason or "")
