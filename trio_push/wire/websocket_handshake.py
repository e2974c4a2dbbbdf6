"""The opening handshake of a WebSocket (RFC 6455, section 4.2): request in, response out.

Headers that are known to crash other servers are refused like any that are malformed.
Extensions (permessage-deflate among them) and subprotocols are declined by not being answered.
Called by the front door; pure.
"""

from __future__ import annotations

import binascii
import re
from typing import Final

import orjson
from wsproto.utilities import generate_accept_token

from trio_push.errors import ProtocolError
from trio_push.wire import http1
from trio_push.wire.http1 import Request

#: the one version there is, and bytes of the nonce that a key is (RFC 6455, section 4.1)
_VERSION: Final = b"13"
_NONCE_BYTES: Final = 16
_WHAT_IS_SPOKEN: Final = b"Upgrade: websocket\r\nSec-WebSocket-Version: %b\r\n" % _VERSION

#: a list of tokens (RFC 9110, sections 5.6.1 and 5.6.2)
_TOKENS: Final = re.compile(rb"[\w!#$%&'*+.^`|~, \t-]*")
_PRINTABLE: Final = re.compile(rb"[\t -~]*")
#: what may stand in a host with its port (RFC 3986, section 3.2.2)
_HOST: Final = re.compile(rb"[\w!$&'()*+,;=.~%\[\]:-]+")
#: header → what its value must look like
_FORMS: Final = {
    b"host": _HOST,
    b"sec-websocket-protocol": _TOKENS,
    b"sec-websocket-extensions": _PRINTABLE,
}
#: headers that a handshake has exactly once
_SINGLE: Final = (b"host", b"sec-websocket-key", b"sec-websocket-version")


def accept(request: Request) -> bytes:
    """The response that makes a WebSocket of the connection.

    Raises ProtocolError when the request is no good handshake (section 4.2.1): `reject` it.
    """
    if request.upgrade is None:
        raise ProtocolError("this is for WebSocket only, over HTTP/1.1", status=426)
    if request.header(b"sec-websocket-version") != _VERSION:
        raise ProtocolError("the version of WebSocket must be 13", status=426)
    _check_headers(request)
    key = request.header(b"sec-websocket-key") or b""
    try:
        nonce = binascii.a2b_base64(key, strict_mode=True)
    except binascii.Error:
        nonce = b""
    if len(nonce) != _NONCE_BYTES:
        raise ProtocolError("Sec-WebSocket-Key is not 16 bytes in base64")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % generate_accept_token(key)
    )


def _check_headers(request: Request) -> None:
    names = [name for name, _ in request.headers]
    for name in _SINGLE:
        if names.count(name) != 1:
            raise ProtocolError(f"there must be one {name.decode()}")
    for name, value in request.headers:
        if name in _FORMS and not _FORMS[name].fullmatch(value):
            raise ProtocolError(f"{name.decode()} has characters that it must not have")
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            raise ProtocolError("a WebSocket handshake has no body")


def reject(error: ProtocolError) -> bytes:
    """The response to a handshake that `accept` does not; the connection ends after it."""
    body = orjson.dumps({"reason": "BadRequest", "detail": str(error)}) + b"\n"
    extra = _WHAT_IS_SPOKEN if error.status == 426 else b""
    return http1.response(error.status, body, b"application/json", extra=extra, close=True)
