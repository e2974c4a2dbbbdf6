"""trio-websocket, on streams of the tests' own: it leaves those that it opens to the collector."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.interop.running import Running
from tests.serving import PATIENCE_S


@asynccontextmanager
async def device(url: str, query: str, trust: ssl.SSLContext) -> AsyncIterator[WebSocketConnection]:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    assert port is not None
    stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    if url.startswith("https"):
        stream = trio.SSLStream(stream, trust, server_hostname=host, https_compatible=True)
    with trio.fail_after(PATIENCE_S):
        async with stream, trio.open_nursery() as nursery:
            yield await wrap_client_stream(
                nursery, stream, host, f"/ws?{query}", subprotocols=["chat"]
            )
            nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_messages(
    launch: Callable[..., Running], trust: ssl.SSLContext, token: str, over: str
) -> None:
    server = launch(keepalive_s=0.1)
    async with device(getattr(server, over), f"token={token}", trust) as connection:
        assert connection.subprotocol is None
        server.push(token, "mágic")
        assert json.loads(await connection.get_message())["data"] == "mágic"
        await trio.to_thread.run_sync(server.wait_pongs, token)
        await connection.ping(b"there?")
        await connection.send_message("nonsense")
        assert json.loads(await connection.get_message())["code"] == "invalid_json"
        server.unregister(token)
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        assert connection.closed is not None
        assert (connection.closed.code, connection.closed.reason) == (4501, "unregistered")


@pytest.mark.parametrize("over", ["plain", "tls"])
async def test_refusals(server: Running, trust: ssl.SSLContext, over: str) -> None:
    with pytest.RaisesGroup(ConnectionRejected) as caught:
        async with device(getattr(server, over), "token=xyz", trust):
            pass
    (rejected,) = caught.value.exceptions
    assert rejected.status_code == 400
    assert json.loads(rejected.body) == {"reason": "BadDeviceToken"}
