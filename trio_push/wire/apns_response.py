"""The answers to a push request, as bytes for HTTP/1.1 and as headers for HTTP/2.

Called once per push by the intake of either protocol. Every answer carries the `apns-id`; a
refusal has a JSON body with Apple's reason, ended by a newline as in Fleet's mock.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from trio_push.errors import Refusal
from trio_push.wire.reasons import MISSING_ACCESS_TOKEN, REASONS

_BODIES: Final = {name: b'{"reason":"%b"}\n' % name.encode() for name in REASONS}
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus
}


def response_body(refusal: Refusal) -> bytes:
    """The JSON that says why; with `timestamp` (epoch milliseconds) if the refusal has one."""
    if refusal.timestamp_ms is None:
        return _BODIES[refusal.reason.name]
    return b'{"reason":"%b","timestamp":%d}\n' % (
        refusal.reason.name.encode(),
        refusal.timestamp_ms,
    )


def challenge(refusal: Refusal) -> bytes | None:
    """What `WWW-Authenticate` says (RFC 6750, section 3); None for what needs no such header.

    A request that shows nothing is told no error.
    """
    if refusal.status != 401:
        return None
    if refusal.reason is MISSING_ACCESS_TOKEN:
        return b'Bearer realm="trio-push"'
    return b'Bearer realm="trio-push", error="invalid_token", error_description="%b"' % (
        str(refusal).encode("ascii")
    )


def http1_response(
    status: int,
    apns_id: bytes,
    body: bytes = b"",
    *,
    close: bool = False,
    head_only: bool = False,
    retry_after_s: int | None = None,
    unique_id: bytes | None = None,
) -> bytes:
    """A whole response; `close` announces that the connection ends with it.

    `head_only` leaves the body out but tells its length: the answer to HEAD.
    """
    if status == 200 and not body and not close and unique_id is None:
        return b"HTTP/1.1 200 OK\r\napns-id: " + apns_id + b"\r\nContent-Length: 0\r\n\r\n"
    head = [_STATUS_LINES[status], b"apns-id: ", apns_id, b"\r\n"]
    if unique_id is not None:
        head += (b"apns-unique-id: ", unique_id, b"\r\n")
    for name, value in _refusal_headers(status, retry_after_s):
        head += (name.title(), b": ", value, b"\r\n")
    if close:
        head.append(b"Connection: close\r\n")
    head.append(b"Content-Length: %d\r\n\r\n" % len(body))
    if not head_only:
        head.append(body)
    return b"".join(head)


def http2_headers(
    status: int,
    apns_id: bytes,
    *,
    retry_after_s: int | None = None,
    unique_id: bytes | None = None,
) -> list[tuple[bytes, bytes]]:
    """What follows `:status`."""
    headers = [(b"apns-id", apns_id)]
    if unique_id is not None:
        headers.append((b"apns-unique-id", unique_id))
    if status != 200:
        headers += _refusal_headers(status, retry_after_s)
    return headers


def _refusal_headers(status: int, retry_after_s: int | None) -> list[tuple[bytes, bytes]]:
    if status == 200:
        return []
    headers = [(b"content-type", b"application/json")]
    if status == 405:
        headers.append((b"allow", b"POST"))  # RFC 9110, section 15.5.6
    if retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % retry_after_s))
    return headers
