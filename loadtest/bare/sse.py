"""The limit of the device plane: a dict of sockets and one parked task for each.

Run as `python -m loadtest.bare.sse`. `GET /events?token=T` is a device, `POST /3/device/T`
sends it the body as an event, `POST /broadcast` sends the body as it is to all of them.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from loadtest.bare.http1 import Requests, answer
from loadtest.bare.listening import receive, send, serve

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nConnection: close\r\n\r\n"
)
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Loop:
    """The connected devices, and what can be done with them."""

    #: how the request of a device begins
    start = b"GET /events?"

    def __init__(self) -> None:
        self._devices: dict[bytes, socket.socket] = {}

    def greet(self, request: bytes) -> bytes:
        """What a device is answered."""
        return _HEAD

    def frame(self, body: bytes) -> bytes:
        """A push for one device."""
        return b"event: ping\ndata: %b\n\n" % body

    async def handle(self, connection: socket.socket) -> None:
        """Serve one connection; a device's task stays in this very frame while it is parked."""
        with connection, suppress(OSError):
            data = await receive(connection)
            if data.startswith(b"POST "):
                return await answer(connection, data, Requests(self._take))
            if not data.startswith(self.start):
                return await send(connection, _NOT_FOUND)
            token = data[: data.index(b" ", 4)].partition(b"token=")[2]
            connection.send(self.greet(data))
            self._devices[token] = connection
            del data
            try:
                await trio.lowlevel.wait_readable(connection)
            finally:
                self._devices.pop(token, None)

    def _take(self, target: bytes, body: bytes) -> None:
        if target == b"/broadcast":
            for device in self._devices.values():
                try:
                    device.send(body)
                except OSError:  # it has just left, and its task will find out
                    continue
            return
        with suppress(KeyError, OSError):
            self._devices[target.rpartition(b"/")[2]].send(self.frame(body))


if __name__ == "__main__":
    trio.run(serve, Loop().handle)
