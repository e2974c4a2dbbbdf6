"""The limit of HTTP/1.1 intake: httptools parses, every request is answered 200, nothing else.

Run as `python -m loadtest.bare.http1`. `Requests` and `answer` also serve the pushes of the
bare event-stream loop.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import httptools
import trio

from loadtest.bare.listening import receive, send, serve

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Requests:
    """What httptools calls: hands on each whole request as (target, body)."""

    def __init__(self, take: Callable[[bytes, bytes], None]) -> None:
        self.complete = 0
        self._take = take
        self._target = b""
        self._body = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_message_begin(self) -> None:
        self._target = self._body = b""
        self._headers = []

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self._take(self._target, self._body)
        self.complete += 1


async def answer(connection: socket.socket, data: bytes, requests: Requests) -> None:
    """Answer all requests of a connection, those of one read with one write."""
    parser = httptools.HttpRequestParser(requests)
    while data:
        parser.feed_data(data)
        await send(connection, _OK * requests.complete)
        requests.complete = 0
        data = await receive(connection)


def _ignore(target: bytes, body: bytes) -> None:
    pass


async def _handle(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        await answer(connection, await receive(connection), Requests(_ignore))


if __name__ == "__main__":
    trio.run(serve, _handle)
