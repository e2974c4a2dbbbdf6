"""A node, and its API on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import pytest
import trio

from tests.api.http2_client import Http2Client
from tests.fakes import FakeDevice
from tests.serving import PATIENCE_S
from trio_push.api import serve_api
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.router.channel import PushChannel
from trio_push.sockets import listen


class HeldUpChannel(PushChannel):
    """A push channel whose router takes its time: until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.gate.set()
        self.submissions = 0
        #: pushes handed in while the gate was shut
        self.waiting = 0

    def shut(self) -> None:
        self.gate = trio.Event()

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        self.submissions += 1
        self.waiting += len(pushes)
        await self.gate.wait()
        self.waiting -= len(pushes)
        return await super().submit(pushes)


class Running(NamedTuple):
    """An API that is being served."""

    node: Node
    host: str
    port: int
    shutdown: trio.Event
    #: set when it has ended
    ended: trio.Event

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def channel(self) -> HeldUpChannel:
        assert isinstance(self.node.push_channel, HeldUpChannel)
        return self.node.push_channel

    async def wait_ended(self) -> None:
        """Wait for the end that `shutdown` has asked for."""
        with trio.fail_after(PATIENCE_S):
            await self.ended.wait()

    def connect(self, *tokens: str) -> list[FakeDevice]:
        devices = [FakeDevice(token) for token in tokens]
        for device in devices:
            self.node.router.attach(device)
        return devices


def make_node(settings: ServeSettings | None = None) -> Node:
    # what has to end at once ends long before the drain does
    node = Node.make(settings or ServeSettings(drain_s=10 * PATIENCE_S), Clock())
    node.push_channel = HeldUpChannel()
    node.phase = "ready"
    return node


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[Running]:
    """Serve the API of `node` inside; it ends in time after."""
    sock = listen("127.0.0.1", 0)
    host, port = sock.getsockname()
    shutdown, ended = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        await serve_api(node, [listener], shutdown=shutdown, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(node.router.run, node.push_channel)
        await nursery.start(serve)
        running = Running(node, host, port, shutdown, ended)
        yield running
        shutdown.set()
        await running.wait_ended()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def node() -> Node:
    return make_node()


@pytest.fixture
async def api(node: Node) -> AsyncIterator[Running]:
    """An API whose books are balanced in the end."""
    async with serving(node) as running:
        yield running
        books = node.ledger.snapshot(node.router.held())
        assert books["balanced"], books


@pytest.fixture(params=["h1", "h2"])
async def client(api: Running, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """httpx, over HTTP/1.1 and over HTTP/2 in plain text."""
    h2 = request.param == "h2"
    async with httpx.AsyncClient(
        base_url=api.url, http1=not h2, http2=h2, timeout=PATIENCE_S
    ) as client:
        yield client


@pytest.fixture
async def http2(api: Running) -> AsyncIterator[Http2Client]:
    async with await trio.open_tcp_stream(api.host, api.port) as stream:
        client = Http2Client(stream)
        await client.flush()
        yield client
