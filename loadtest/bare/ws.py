"""The limit of the device plane over WebSocket: the same dict of sockets after another handshake.

Run as `python -m loadtest.bare.ws`. `GET /ws?token=T` is a device; what it says is taken for its
end. `POST /3/device/T` sends it the body in a message, `POST /broadcast` the body as it is to all.
"""

from __future__ import annotations

import base64
import hashlib
import re

import trio

from loadtest.bare.listening import serve
from loadtest.bare.sse import Loop
from loadtest.frames import text_frame

#: RFC 6455, section 1.3
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"(?i)sec-websocket-key: *(\S+)")
_HEAD = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


class WebSocketLoop(Loop):
    start = b"GET /ws?"

    def greet(self, request: bytes) -> bytes:
        found = _KEY.search(request)
        key = b"" if found is None else found[1]
        return _HEAD % base64.b64encode(hashlib.sha1(key + _GUID).digest())

    def frame(self, body: bytes) -> bytes:
        return text_frame(
            b'{"type":"notification","id":"","epoch":"00000000","seq":1,"topic":"","data":%b}'
            % body
        )


if __name__ == "__main__":
    trio.run(serve, WebSocketLoop().handle)
