"""The PyPI package websockets: a WebSocket device that offers compression and is strict.

Its asyncio client: the one for threads reads and writes a TLS connection at the same time, which
OpenSSL does not allow.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.interop.running import Running
from tests.serving import PATIENCE_S
from trio_push.devices import farewell

Open = Callable[[Running, str], connect]


@pytest.fixture(params=["plain", "tls"])
def device(request: pytest.FixtureRequest, trust: ssl.SSLContext) -> Open:
    """Makes a device of each way."""

    def device(server: Running, query: str) -> connect:
        base = getattr(server, request.param).replace("http", "ws")
        context = trust if request.param == "tls" else None
        return connect(f"{base}/ws?{query}", ssl=context, proxy=None, open_timeout=PATIENCE_S)

    return device


async def hear(connection: ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(PATIENCE_S):
        message = await connection.recv()
    assert isinstance(message, str)
    return dict(json.loads(message))


@pytest.mark.usefixtures("patient")
def test_messages(device: Open, launch: Callable[..., Running], token: str) -> None:
    server = launch(keepalive_s=0.1)
    server.push(token, "stored")

    async def talk() -> None:
        async with device(server, f"token={token}") as connection:
            assert connection.response is not None
            assert "sec-websocket-extensions" not in connection.response.headers
            assert (await hear(connection))["data"] == "stored"
            await asyncio.to_thread(server.wait_pongs, token)
            for text in ("x" * 4096, "mágic\n\0", '"\\u0000"'):
                server.push(token, text)
                expected = json.loads(text) if text.startswith('"') else text
                assert (await hear(connection))["data"] == expected
            await connection.send("nonsense")
            assert (await hear(connection))["code"] == "invalid_json"
            await connection.send(["in ", "frag", "ments"])
            assert (await hear(connection))["code"] == "invalid_json"
            await (await connection.ping("there?"))
        assert connection.close_code == 1000

    asyncio.run(talk())


def test_it_is_told_why_it_is_closed(
    device: Open, launch: Callable[..., Running], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (600, 600))
    server = launch()
    query = f"token={token}"

    async def talk() -> None:
        async with device(server, query) as older, device(server, query) as newer:
            assert await why(older) == (4500, "replaced")
            await newer.send(b"\xff")
            assert await why(newer) == (1003, "unsupported_data")
        async with device(server, query) as connection:
            await connection.send("x" * 20_000)
            assert (await why(connection))[0] == 1009
        async with device(server, query) as connection:
            draining = asyncio.create_task(asyncio.to_thread(server.drain))
            assert await why(connection) == (1001, "retry: 600")
            await draining

    asyncio.run(talk())


async def why(connection: ClientConnection) -> tuple[int, str]:
    """The close frame, which both sides must have sent."""
    with pytest.raises(ConnectionClosed) as caught:
        await hear(connection)
    closed = caught.value
    assert closed.rcvd is not None
    assert closed.sent is not None
    return closed.rcvd.code, closed.rcvd.reason


def test_refusals(device: Open, server: Running, token: str) -> None:
    server.unregister(token)

    async def ask() -> None:
        for query, status in {f"token={token}": 410, "token=xyz": 400, "": 400}.items():
            with pytest.raises(InvalidStatus) as caught:
                await device(server, query)
            assert caught.value.response.status_code == status

    asyncio.run(ask())
