"""Messages in a stream of bytes, each with its length before it. Pure.

Spoken between the parent of a server and its workers, and between a swarm and its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_LENGTH: Final = struct.Struct(">I")
#: bytes that a frame has beside its message
HEAD_BYTES: Final = _LENGTH.size


def framed(body: bytes) -> bytes:
    """A message with its length before it."""
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Messages of at most `max_bytes` out of a stream, however it is cut."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> Iterator[bytes]:
        """Yields what is whole with `data`. Raises ValueError for a length beyond reason."""
        self._buffer += data
        while len(self._buffer) >= HEAD_BYTES:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._max_bytes:
                raise ValueError(f"a message of {length} bytes")
            end = HEAD_BYTES + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEAD_BYTES:end])
            del self._buffer[:end]
            yield body
