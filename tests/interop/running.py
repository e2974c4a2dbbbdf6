"""A real server in a thread of its own, so that clients of any kind can be run against it.

The tests look at it from outside; what only the inside can do or tell (drop a device, shut
down, read the books even then) goes through `call` and `wait`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import trio

from tests.serving import PATIENCE_S
from trio_push.config import ServeSettings
from trio_push.devices.connection import Connection
from trio_push.devices.websocket import WebSocketConnection
from trio_push.server import Server, open_server

T = TypeVar("T")


class Running:
    """A server that runs, and the way into its thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._trio = trio.lowlevel.current_trio_token()
        self.node = server.node
        #: URLs without a trailing slash
        self.plain = server.addresses.wire[0]
        self.tls = server.addresses.tls[0].replace("127.0.0.1", "localhost")
        #: the certificate to trust for `tls`
        self.ca = str(server.addresses.ca_file)
        self.api = str(server.addresses.api)
        self._api = httpx.Client(base_url=self.api, trust_env=False, timeout=PATIENCE_S)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        return trio.from_thread.run_sync(function, *args, trio_token=self._trio)

    def wait(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        return trio.from_thread.run(function, *args, trio_token=self._trio)

    def connection(self, token: str) -> Connection:
        """The device's, as soon as it is there."""
        return self.wait(self._find, token)

    async def _find(self, token: str) -> Connection:
        with trio.fail_after(PATIENCE_S):
            while (connection := self.node.directory.get(token)) is None:
                await trio.sleep(0.005)
            return connection

    def push(self, token: str, payload: str, event: str | None = None) -> None:
        """Push through the API, where the event has a name only when asked for."""
        push = {"token": token, "payload": payload, "event": event}
        self._api.post("/v1/push", json=push).raise_for_status()

    def unregister(self, token: str) -> int:
        """Since when it is unregistered, in epoch milliseconds."""
        answer = self._api.delete(f"/v1/devices/{token}").raise_for_status()
        return int(answer.json()["timestamp"])

    def sleep(self, seconds: float) -> None:
        """Let that much of the server's time pass."""
        self.wait(trio.sleep, seconds)

    def wait_pongs(self, token: str) -> None:
        """Until the device was heard of a few times: one that says nothing has answered pings."""
        self.wait(self._wait_heard, token, 3)

    async def _wait_heard(self, token: str, times: int) -> None:
        device = await self._find(token)
        assert isinstance(device, WebSocketConnection)
        with trio.fail_after(PATIENCE_S):
            for _ in range(times):
                heard = device.paid_until
                while device.paid_until == heard:
                    assert not device.closed
                    await trio.sleep(0.005)

    def drop(self, token: str) -> None:
        """End the device's connection without a word."""
        self.call(self.node.router.delivery.disconnect, self.connection(token))

    def drain(self) -> None:
        """Shut down politely; returns when that is through."""
        self.wait(self._server.drain)

    def close(self) -> None:
        self._api.close()

    def books(self) -> dict[str, Any]:
        return self.call(lambda: self.node.ledger.snapshot(self.node.router.held()))


@contextmanager
def running(tls_dir: Path, *, debug_echo: bool = False, **settings: Any) -> Iterator[Running]:
    """A server on free ports, plain and TLS. At the end its books must balance."""
    chosen: dict[str, Any] = {
        "listen": ("127.0.0.1:0",),
        "tls_listen": ("127.0.0.1:0",),
        "tls_dev": True,
        "tls_dev_dir": str(tls_dir),
        "api": "127.0.0.1:0",
        **settings,
    }
    started: queue.Queue[Running | BaseException] = queue.Queue()
    stop = trio.Event()

    async def main() -> None:
        async with open_server(ServeSettings(**chosen), debug_echo=debug_echo) as server:
            started.put(Running(server))
            await stop.wait()

    def run() -> None:
        try:
            trio.run(main)
        except BaseException as error:
            started.put(error)
            raise

    thread = threading.Thread(target=run, name="server")
    thread.start()
    server = started.get(timeout=PATIENCE_S)
    if isinstance(server, BaseException):
        raise server
    try:
        yield server
        assert server.books()["balanced"]
    finally:
        server.close()
        server.call(stop.set)
        thread.join(PATIENCE_S)


class Device:
    """A device on the standard library's HTTP client, to see what arrives."""

    def __init__(self, server: Running, token: str) -> None:
        url = urlsplit(server.plain)
        self._http = HTTPConnection(str(url.hostname), url.port, timeout=PATIENCE_S)
        self._http.request("GET", f"/events?token={token}")
        self._response = self._http.getresponse()
        assert self._response.status == 200
        server.connection(token.lower())

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._http.close()

    def event(self) -> dict[bytes, bytes]:
        """Name and value of each field of the next event; comments are skipped."""
        fields: dict[bytes, bytes] = {}
        while (line := self._response.readline()) != b"\n" or not fields:
            assert line, "the stream ended"
            name, colon, value = line.removesuffix(b"\n").partition(b": ")
            if name and colon:
                fields[name] = value
        return fields

    def pings(self, number: int) -> list[bytes]:
        """The payloads of that many APNs pushes."""
        events = [self.event() for _ in range(number)]
        assert {event[b"event"] for event in events} == {b"ping"}
        return [event[b"data"] for event in events]
