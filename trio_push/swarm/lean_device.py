"""The lean device: one task, one plain socket, one small parser.

A process holds 19,000 of them, so what a device keeps while it waits is counted in bytes: no
buffer, no timer, no second task.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

import trio
from trio.lowlevel import wait_readable

from trio_push.errors import ProtocolError
from trio_push.swarm.device import ConnectFailed, Device
from trio_push.swarm.population import (
    EVENTS_PATH,
    SLOW_BYTES,
    SLOW_RECEIVE_BYTES,
    SLOW_S,
    Destination,
    Population,
)
from trio_push.swarm.target import connect, describe
from trio_push.wire.http_response import ResponseParser
from trio_push.wire.sse_parser import EventStreamParser

#: bytes to read at once. An event has some hundred; what is not read now is read next.
RECEIVE_BYTES: Final = 16 * 2**10


class LeanDevice:
    """A device that reads HTTP/1.1 from a non-blocking socket; no TLS."""

    __slots__ = (
        "_chunks",
        "_over",
        "_parser",
        "_population",
        "_socket",
        "index",
        "received",
        "retry_s",
    )

    def __init__(self, index: int, population: Population) -> None:
        self.received = 0
        self.retry_s = 0.0
        self.index = index
        self._population = population
        self._parser = EventStreamParser()
        self._socket: socket.socket | None = None
        #: nothing more is read: the stream has ended, or the network is lost
        self._over = False
        #: takes the body apart where the server sends it in chunks
        self._chunks: ResponseParser | None = None

    async def connect(self) -> None:
        population = self._population
        last_event_id = self._parser.last_event_id
        request = _request(population.destination, self.index, last_event_id)
        response = ResponseParser()
        try:
            sock = await dial(population, self.index)
            try:
                early = await ask(sock, request, response)
                _check(response)
                self._parser = EventStreamParser(last_event_id or population.start_id)
                self.received = 0
                self._take(early)
            except BaseException:
                sock.close()
                if not response.head_complete:
                    # The server may take us for connected, and have sent what we do not have.
                    self._parser = EventStreamParser(last_event_id or population.start_id)
                raise
        except (OSError, ProtocolError) as exc:
            raise ConnectFailed(describe(exc)) from exc
        self._socket = sock
        self._over = response.complete
        self._chunks = response if response.delimited else None

    def read(self) -> bool:
        assert self._socket is not None  # `connect` came before
        if self._over:
            return False
        try:
            data = self._socket.recv(read_size(self._population, self.index))
            if data:
                self._take(data if self._chunks is None else self._chunks.feed(data))
            self._over = not data or (self._chunks is not None and self._chunks.complete)
        except BlockingIOError:
            pass
        except (OSError, ProtocolError):
            self._over = True  # reset, or no event stream any more: it ended either way
        return not self._over

    def wait(self) -> Awaitable[None]:
        assert self._socket is not None
        return wait_to_read(self._population, self, self._socket)

    def leave(self, *, suddenly: bool = False) -> bool:
        if self._socket is None:
            return False
        self._over |= suddenly
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR if suddenly else socket.SHUT_WR)
        return True

    async def close(self) -> None:
        assert self._socket is not None
        self._population.reading.forget(self._socket)
        self._socket.close()
        self._socket = None

    def _take(self, body: bytes) -> None:
        for event in self._parser.feed(body):
            self.received += self._population.heard(self.index, event.event, event.data)
        if self._parser.retry_ms is not None:
            self.retry_s = self._parser.retry_ms / 1e3


def _request(destination: Destination, index: int, last_event_id: str) -> bytes:
    last = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
    authorization = destination.authorization(index)
    proof = f"Authorization: {authorization}\r\n" if authorization else ""
    return (
        f"GET {destination.request_path(index, EVENTS_PATH)} HTTP/1.1\r\n"
        f"Host: {destination.target.authority}\r\n"
        f"Accept: text/event-stream\r\nCache-Control: no-store\r\n{proof}{last}\r\n"
    ).encode()


def read_size(population: Population, index: int) -> int:
    """How many bytes a device reads at once."""
    return SLOW_BYTES if population.reads_slowly(index) else RECEIVE_BYTES


def wait_to_read(population: Population, device: Device, sock: socket.socket) -> Awaitable[None]:
    """What a device waits for before it reads by itself."""
    if population.reads_slowly(device.index):
        return trio.sleep(SLOW_S)  # noqa: ASYNC105  the caller awaits it
    return population.reading.wait(device, sock)


async def dial(population: Population, index: int) -> socket.socket:
    """A connected socket for a device. Raises OSError."""
    destination = population.destination
    receive_bytes = SLOW_RECEIVE_BYTES if population.reads_slowly(index) else None
    return await connect(destination.target, destination.source(index), receive_bytes)


async def ask(sock: socket.socket, request: bytes, response: ResponseParser) -> bytes:
    """Send a request and read the response up to its head; returns what came of its body."""
    sock.send(request)
    body = b""
    while not response.head_complete:
        await wait_readable(sock)
        data = sock.recv(RECEIVE_BYTES)
        if not data:
            raise ProtocolError("closed before the response")
        body = response.feed(data)
    return body


def _check(response: ResponseParser) -> None:
    """Raise ProtocolError unless the response is an event stream."""
    if response.redirect:
        raise ProtocolError(f"redirected to {response.redirect}")
    if response.status != 200:
        raise ProtocolError(f"status {response.status}")
    if response.content_type != "text/event-stream":
        raise ProtocolError(f"not an event stream but {response.content_type or 'nameless'}")
