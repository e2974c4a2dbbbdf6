"""WebSocket frames (RFC 6455, section 5) for the crowd and the bare loop: as little as will do."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

#: a pong; its mask of zeros leaves a payload as it is
PONG: Final = b"\x8a\x80\0\0\0\0"

_CONTROL: Final = 0x8
_PING: Final = 0x9


def text_frame(payload: bytes) -> bytes:
    """A server's message; shorter than 64 KiB."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + payload


def device_frame(payload: bytes) -> bytes:
    """A device's message, of up to 125 bytes. Masked with zeros, as the pong."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


def ack_frame(message: bytes) -> bytes:
    """A device's word that it has the notification `message`; b"" for other messages."""
    _, found, rest = message.partition(b'"id":"')
    if not found:
        return b""
    return device_frame(b'{"type":"ack","notification_id":"%b"}' % rest[: rest.index(b'"')])


class MessageCounter:
    """Counts the messages of many WebSockets, however they are cut into reads."""

    def __init__(self, *, acks: bool = False) -> None:
        """`acks`: each message is a notification of ours that is to be acknowledged."""
        self.events = 0
        self.bytes = 0
        self._acks = acks
        #: per stream, the frame that its last read broke off in; nearly always none
        self._torn: dict[int, bytes] = {}

    def feed(self, stream: int, data: bytes) -> bytes:
        """Take in bytes of a stream; returns what is to be answered."""
        self.bytes += len(data)
        data = self._torn.pop(stream, b"") + data
        answers = b""
        end = 0
        for opcode, start, end in frames(data):
            if opcode < _CONTROL:
                self.events += 1
                if self._acks:
                    answers += ack_frame(data[start:end])
            elif opcode == _PING:
                answers += PONG
        if end < len(data):
            self._torn[stream] = data[end:]
        return answers


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Opcode, begin and end of the payload of each frame of a server that is all there."""
    at = 0
    while len(data) >= at + 2:
        size = data[at + 1]
        start = at + 2 + {126: 2, 127: 8}.get(size, 0)
        if size >= 126:
            size = int.from_bytes(data[at + 2 : start]) if len(data) >= start else len(data)
        if len(data) < start + size:
            return
        opcode = data[at] & 0xF
        at = start + size
        yield opcode, start, at
