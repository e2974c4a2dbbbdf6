"""Server-Sent Events as bytes: the response head, events, comments (WHATWG HTML §9.2).

The bytes are those of Fleet's `apple-apns-mock` wherever it defines any, with an `id:` field
before them. Called by the SSE transport; pure.
"""

from __future__ import annotations

import re
from typing import Final

#: Close-delimited: no chunk framing, so an event is written as one piece.
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Connection: close\r\n"
)
ALLOW_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
HTTP2_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    ALLOW_ANY_ORIGIN,
]
KEEPALIVE: Final = b": keepalive\n\n"

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def response_head(*, cors: bool) -> bytes:
    """The whole response head; `cors` when the request came from a page of another origin."""
    return HEAD + (b"Access-Control-Allow-Origin: *\r\n" if cors else b"") + b"\r\n"


def event(epoch: bytes, seq: int, payload: bytes, name: str | None) -> bytes:
    """One event. `name` must not hold CR, LF or NUL: intake sees to it."""
    if b"\n" in payload or b"\r" in payload:
        payload = b"\ndata: ".join(_LINE_END.split(payload))
    if name is None:
        return b"id: %b:%d\ndata: %b\n\n" % (epoch, seq, payload)
    return b"id: %b:%d\nevent: %b\ndata: %b\n\n" % (epoch, seq, name.encode(), payload)


def sync_result(epoch: bytes, since: int, until: int, *, recovered: bool) -> bytes:
    """Answers a device that came with `Last-Event-ID`: is what follows all that it missed?

    Without an id of its own, so that it does not move the device's cursor.
    """
    return b'event: sync_result\ndata: {"recovered":%b,"epoch":"%b","from":%d,"to":%d}\n\n' % (
        b"true" if recovered else b"false",
        epoch,
        since,
        until,
    )


def retry(delay_ms: int) -> bytes:
    """Tells the device how long to wait before it connects again."""
    return b"retry: %d\n\n" % delay_ms
