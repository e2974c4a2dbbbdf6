"""A node, and its API on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import pytest
import trio

from tests.api.fakes import FakeNode
from tests.api.http2_client import Http2Client
from trio_push.api import serve_api


class Running(NamedTuple):
    """An API that is being served."""

    node: FakeNode
    host: str
    port: int
    listeners: list[trio.SocketListener]
    shutdown: trio.Event
    #: set when it has ended
    ended: trio.Event

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def serving(node: FakeNode) -> AsyncIterator[Running]:
    """Serve the API of `node` inside; it ends in time after."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listeners[0].socket.getsockname()
    shutdown, ended = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_api(node, listeners, shutdown=shutdown, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield Running(node, host, port, listeners, shutdown, ended)
        shutdown.set()
        with trio.fail_after(5):
            await ended.wait()


@pytest.fixture
async def node(nursery: trio.Nursery) -> FakeNode:
    node = FakeNode()
    nursery.start_soon(node.router.run, node.push_channel)
    return node


@pytest.fixture
async def api(node: FakeNode) -> AsyncIterator[Running]:
    async with serving(node) as running:
        yield running


@pytest.fixture(params=["h1", "h2"])
async def client(api: Running, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """httpx, over HTTP/1.1 and over HTTP/2 in plain text."""
    h2 = request.param == "h2"
    async with httpx.AsyncClient(base_url=api.url, http1=not h2, http2=h2, timeout=10) as client:
        yield client


@pytest.fixture
async def http2(api: Running) -> AsyncIterator[Http2Client]:
    async with await trio.open_tcp_stream(api.host, api.port) as stream:
        client = Http2Client(stream)
        await client.flush()
        yield client
