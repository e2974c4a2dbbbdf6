"""The server as a whole, in this process: opened, drained, dropped. Signals: tests/fault."""

from __future__ import annotations

import json
import ssl
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.http2_client import Http2Client
from tests.serving import Peer, nothing_left, request, serving, settle, tls, trust
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError
from trio_push.push import State
from trio_push.server import open_server

__all__ = ["tls", "trust"]

PUSH = request("POST", "/3/device/aa", b"x")


async def test_every_listener_serves(tls: dict[str, Any], trust: ssl.SSLContext) -> None:
    listeners = {"listen": ("127.0.0.1:0", "127.0.0.1:0"), "tls_listen": ("127.0.0.1:0",) * 2}
    async with serving(**tls | listeners) as server:
        wire, secure = server.addresses.wire, server.addresses.tls
        assert len({*wire, *secure}) == 4
        for url in (*wire, *secure):
            async with Peer.connected(url, trust=trust if url in secure else None) as peer:
                assert (await peer.request("GET", "/healthz")).body == b"ok\n"
                stats = json.loads((await peer.request("GET", "/stats")).body)
                assert (stats["phase"], stats["api"]) == ("ready", None)


async def test_the_api_beside_it() -> None:
    async with serving(api="127.0.0.1:0", sound=False) as server:
        assert server.addresses.api is not None
        async with Peer.connected(server.addresses.api) as peer:
            response = await peer.request("GET", "/v1/ledger", connection="close")
            assert json.loads(response.body)["balanced"] is True
        async with Peer.connected(server) as peer:
            stats = json.loads((await peer.request("GET", "/stats")).body)
            assert stats["api"] == server.addresses.api


async def test_an_address_that_is_taken_is_a_wrong_setting() -> None:
    async with serving() as server:
        taken = urlsplit(server.addresses.wire[0]).netloc
        with pytest.raises(ConfigError, match=taken):
            async with open_server(ServeSettings(listen=("127.0.0.1:0", taken), api="off")):
                pass


async def test_leaving_the_block_drops_every_connection() -> None:
    async with AsyncExitStack() as stack:
        async with serving(sound=False) as server:
            peers = [await stack.enter_async_context(Peer.connected(server)) for _ in range(3)]
            await peers[0].listen("aa")
            await peers[1].push("bb")
            await settle(lambda: len(server._front.visitors) == 2)
        for peer in peers:
            assert await peer.read_to_end() == b""


# -- draining


async def test_drain_says_good_bye_to_everyone(tls: dict[str, Any], trust: ssl.SSLContext) -> None:
    async with serving(sound=False, drain_s=1, **tls) as server, AsyncExitStack() as stack:

        async def connect(**how: Any) -> Peer:
            return await stack.enter_async_context(Peer.connected(server, **how))

        devices = [await connect(), await connect(trust=trust)]
        for device, token in zip(devices, ("aa", "bb"), strict=True):
            await device.listen(token)
        provider, half = await connect(), await connect()
        assert (await provider.push("aa", b"before")).status == 200
        await half.send(PUSH[:20])
        client = Http2Client((await connect()).stream)  # type: ignore[arg-type]
        stream = await client.request({":path": "/events?token=cc"})
        await settle(lambda: len(server.node.directory) == 3)

        await server.drain()
        assert nothing_left(server)
        assert [event.data for event in await devices[0].events()] == ["before"]
        assert await devices[1].events() == []
        assert all(device.retry_ms for device in devices)
        while await client.read():
            pass
        assert b"retry: " in client.bodies[stream]
        assert stream in client.ended
        assert client.last_words == b'{"reason":"Shutdown"}'
        assert await provider.read_to_end() == await half.read_to_end() == b""


async def test_while_it_drains_pushes_and_devices_are_refused(mock_clock: MockClock) -> None:
    """A device that does not read keeps it draining."""
    async with (
        serving(sound=False, small_buffers=True, drain_s=8) as server,
        Peer.connected(server, small_buffers=True) as stalled,
        Peer.connected(server) as provider,
        Peer.connected(server) as late,
        trio.open_nursery() as nursery,
    ):
        await stalled.listen("aa")
        for _ in range(20):
            assert (await provider.push("aa", b"x" * 4096)).status == 200
        await settle(lambda: len(server._front.visitors) == 2)
        url = server.addresses.wire[0]
        nursery.start_soon(server.drain)
        await wait_all_tasks_blocked(0.01)

        refused = await provider.push("bb")
        assert (refused.status, refused.body) == (503, b'{"reason":"Shutdown"}\n')
        assert int(refused.headers["retry-after"]) > 0
        stats = json.loads((await provider.request("GET", "/stats")).body)
        assert stats["phase"] == "draining"
        refused = await late.request("GET", "/events?token=bb")
        assert (refused.status, refused.body) == (503, b'{"reason":"Shutdown"}\n')
        with pytest.raises(OSError):
            async with Peer.connected(url):
                pass

        mock_clock.rate = 50
    counts = server.node.ledger.counts
    assert counts[State.LOST] >= 1
    assert counts[State.STORED] == counts[State.QUEUED] == counts[State.IN_FLIGHT] == 0


async def test_a_provider_that_is_being_answered_gets_its_answers() -> None:
    """And who has more to ask is told that it will not be pushed."""
    async with serving(sound=False, drain_s=1) as server, Peer.connected(server) as provider:
        await provider.send(PUSH * 100)
        await settle(lambda: server.node.ledger.accepted)
        await server.drain()
        answers = (await provider.read_to_end()).split(b"HTTP/1.1 ")[1:]
        assert [answer[:3] for answer in answers].count(b"200") == server.node.ledger.accepted
        assert len(answers) == 100


@pytest.mark.parametrize("turns", [0, 1, 3, 10])
async def test_a_drain_that_is_cancelled_stops_at_once(turns: int) -> None:
    async with serving(sound=False, drain_s=60) as server, AsyncExitStack() as stack:
        for n in range(250):
            peer = await stack.enter_async_context(Peer.connected(server))
            await peer.listen(f"{n:04x}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.drain)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await settle(lambda: nothing_left(server))
