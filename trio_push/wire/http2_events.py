"""What an HTTP/2 session reports: requests, and what becomes of their streams.

Made by `wire/http2.py`, read by whoever holds the connection.
"""

from __future__ import annotations

import msgspec

Headers = list[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True):
    """A whole request. Names of headers are in lower case, pseudo-headers are not among them."""

    stream_id: int
    method: bytes
    #: `:path` as sent, and not necessarily ASCII; empty with CONNECT
    target: bytes
    #: `:authority`; empty if the client sent `host` instead
    authority: bytes
    headers: Headers
    #: cut off one byte beyond the session's limit
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first header of that (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)


class Reset(msgspec.Struct, frozen=True):
    """A reported request's stream is gone: nobody waits for the answer."""

    stream_id: int


class Writable(msgspec.Struct, frozen=True):
    """A stream whose `send()` took less than it was given takes more now."""

    stream_id: int


class Leaving(msgspec.Struct, frozen=True):
    """The peer sends no new requests (GOAWAY); it still reads the answers it is owed."""


Event = Request | Reset | Writable | Leaving
