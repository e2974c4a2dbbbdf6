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


class MessageCounter:
    """Counts the messages of many WebSockets, however they are cut into reads."""

    def __init__(self) -> None:
        self.events = 0
        self.bytes = 0
        #: per stream, the frame that its last read broke off in; nearly always none
        self._torn: dict[int, bytes] = {}

    def feed(self, stream: int, data: bytes) -> bool:
        """Take in bytes of a stream; returns whether there was a ping among them."""
        self.bytes += len(data)
        data = self._torn.pop(stream, b"") + data
        pinged = False
        end = 0
        for opcode, at in _frames(data):
            end = at
            self.events += opcode < _CONTROL
            pinged |= opcode == _PING
        if end < len(data):
            self._torn[stream] = data[end:]
        return pinged


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Opcode and end of each frame of a server that is all there."""
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
        yield opcode, at
