"""A whole server on loopback, and peers on raw sockets that can be as rude as they like.

    async with serving() as server:
        async with Peer.connected(server) as peer: ...

When the block is through, the server is looked at: it still serves, its books balance, and of
whoever was there nothing is left.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_push.config import ServeSettings
from trio_push.push import State
from trio_push.server import Server, open_server
from trio_push.tls import dev_context
from trio_push.wire.sse_parser import Event, EventStreamParser

#: seconds of real time that any one thing may take on a busy machine
PATIENCE_S = 90.0


@asynccontextmanager
async def serving(
    *, sound: bool = True, small_buffers: bool = False, debug_echo: bool = False, **fields: Any
) -> AsyncIterator[Server]:
    """A server with these settings; `sound` has it looked at after.

    With `small_buffers` the kernel takes little for peers that do not read.
    """
    settings = ServeSettings(**{"listen": ("127.0.0.1:0",), "api": "off", **fields})
    async with bounded(), open_server(settings, debug_echo=debug_echo) as server:
        if small_buffers:
            for sock in (*server._plain, *server._tls):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        yield server
        if sound:
            await settle(lambda: nothing_left(server))
            await still_serves(server)
            await settle(lambda: nothing_left(server))
            assert trio.lowlevel.current_statistics().tasks_living <= tasks
            assert not server._front.failed


def nothing_left(server: Server) -> bool:
    node = server.node
    books = node.ledger.snapshot(node.router.held())
    assert books["balanced"], books
    there = len(node.directory) or server._front.visitors or server._front.leaving
    return not there and not node.router.delivery.waiting


async def settle(done: Any) -> None:
    """Until `done()`; what goes on in the kernel has no event to wait for.

    Works under any clock: it does not wait by trio's.
    """
    for _ in range(int(PATIENCE_S / 0.01)):
        if done():
            return
        await wait_all_tasks_blocked(0.01)
    raise AssertionError("it did not come to that")


async def still_serves(server: Server) -> None:
    """A device connects, gets a push sent over HTTP/1.1, and goes."""
    token = "feed"
    delivered = server.node.ledger.counts[State.DELIVERED_LIVE]
    async with Peer.connected(server) as device, Peer.connected(server) as provider:
        await device.listen(token)
        assert (await provider.push(token, b"still there")).status == 200
        assert (await device.event()).data == "still there"
    assert server.node.ledger.counts[State.DELIVERED_LIVE] == delivered + 1


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Peer:
    """A client on a socket of its own; `stream` is the socket, or TLS on it."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self._unread = b""
        self._parser = EventStreamParser()
        self._events: list[Event] = []

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        server: Server | str,
        *,
        small_buffers: bool = False,
        trust: ssl.SSLContext | None = None,
        using: socket.socket | None = None,
    ) -> AsyncIterator[Peer]:
        """A connection to the server's plain listener, or over TLS with `trust`."""
        if isinstance(server, Server):
            server = server.addresses.tls[0] if trust else server.addresses.wire[0]
        address = urlsplit(server)
        sock = trio.socket.from_stdlib_socket(using or socket.socket())
        if small_buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with sock:
            await sock.connect((address.hostname, address.port))
            stream: Any = trio.SocketStream(sock)
            if trust is not None:
                stream = trio.SSLStream(stream, trust, server_hostname="localhost")
            yield cls(stream)

    @property
    def sock(self) -> trio.socket.SocketType:
        transport = self.stream.transport_stream if self.over_tls else self.stream
        return transport.socket  # type: ignore[union-attr]

    @property
    def over_tls(self) -> bool:
        return isinstance(self.stream, trio.SSLStream)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the server's end gets RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def end(self) -> None:
        """Send no more (FIN); go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    # -- bytes

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """What has come, b"" at the end."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        return bytes(await self.stream.receive_some())

    async def read_until(self, end: bytes) -> bytes:
        data = b""
        while end not in data:
            more = await self.receive()
            assert more, f"the stream ended after {data!r}"
            data += more
        found, _, self._unread = data.partition(end)
        return found + end

    async def read_to_end(self) -> bytes:
        """All until the server closes; a reset is an error."""
        data = b""
        while more := await self.receive():
            data += more
        return data

    # -- HTTP/1.1

    async def request(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> Response:
        await self.send(request(method, target, body, **headers))
        return await self.response()

    async def response(self) -> Response:
        head = (await self.read_until(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in fields}
        length = int(headers.get("content-length", 0))
        body = b""
        while len(body) < length:
            body += await self.receive()
        body, self._unread = body[:length], body[length:] + self._unread
        return Response(int(head[0].split()[1]), headers, body)

    async def push(self, token: str, payload: bytes = b"{}", **headers: str) -> Response:
        return await self.request("POST", f"/3/device/{token}", payload, **headers)

    # -- a device

    async def listen(self, token: str, query: str = "", **headers: str) -> None:
        """Become a device; `query` goes behind the token."""
        response = await self.request("GET", f"/events?token={token}{query}", **headers)
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")

    async def event(self) -> Event:
        """The next event."""
        while not self._events:
            data = await self.receive()
            assert data, "the stream ended"
            self._events = self._parser.feed(data)
        return self._events.pop(0)

    async def events(self, *, may_be_reset: bool = False) -> list[Event]:
        """All events until the end of the stream."""
        events, self._events = self._events, []
        with suppress(*([trio.BrokenResourceError] if may_be_reset else [])):
            while data := await self.receive():
                events += self._parser.feed(data)
        return events

    @property
    def retry_ms(self) -> int | None:
        return self._parser.retry_ms


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """A request of HTTP/1.1; underscores in the names of headers become dashes."""
    if body:
        headers["content_length"] = str(len(body))
    fields = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode() + body


async def flood(peer: Peer, data: bytes) -> None:
    """Send it over and over, until the server reads no more of it."""
    with trio.CancelScope() as full:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_forever, peer, data)
            await wait_all_tasks_blocked(0.05)
            full.cancel()


async def _send_forever(peer: Peer, data: bytes) -> None:
    while True:
        await peer.stream.send_all(data)


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """What hangs inside fails after PATIENCE_S, also under a clock that stands still."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, time.monotonic() + PATIENCE_S)
        yield
        nursery.cancel_scope.cancel()


async def _watch(deadline: float) -> None:
    while time.monotonic() < deadline:
        await wait_all_tasks_blocked(0.5)
    raise TimeoutError(f"this took more than {PATIENCE_S} s")


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a server with a TLS listener beside the plain one."""
    folder = tmp_path_factory.mktemp("tls")
    return {"tls_listen": ("127.0.0.1:0",), "tls_dev": True, "tls_dev_dir": str(folder)}


@pytest.fixture(scope="session")
def trust(tls: dict[str, Any]) -> ssl.SSLContext:
    _, ca_file = dev_context(tls["tls_dev_dir"])
    return ssl.create_default_context(cafile=ca_file)
