"""HTTP/2 on real sockets: how a connection ends, and how long each thing may take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
import trio
from h2.settings import SettingCodes, Settings
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.api.http2_client import Http2Client
from tests.serving import Peer, nothing_left, serving, settle
from trio_push.intake import http2
from trio_push.push import Push, State
from trio_push.server import Server

TIMES = {"head_timeout_s": 10, "idle_timeout_s": 60}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PUSH: dict[str, str | bytes] = {":method": "POST", ":path": "/3/device/aa"}
EVENTS: dict[str, str | bytes] = {":path": "/events?token=aa"}


class Connected(NamedTuple):
    server: Server
    peer: Peer
    client: Http2Client


@asynccontextmanager
async def connected(*, small_buffers: bool = False) -> AsyncIterator[Connected]:
    async with (
        serving(small_buffers=small_buffers, **TIMES) as server,
        Peer.connected(server, small_buffers=small_buffers) as peer,
    ):
        client = Http2Client(peer.stream)  # type: ignore[arg-type]
        await client.flush()
        await client.read()
        yield Connected(server, peer, client)


async def read_to_end(client: Http2Client) -> None:
    while await client.read():
        pass


async def push_status(client: Http2Client, body: bytes = b"x") -> int:
    stream_id = await client.request(PUSH, end=False)
    client.h2.send_data(stream_id, body, end_stream=True)
    await client.flush()
    return await client.status(stream_id)


async def test_pushes_and_pages() -> None:
    async with connected() as (server, _, client):
        assert await push_status(client) == 200
        assert await push_status(client, b"x" * 5000) == 413
        assert await client.status(await client.request({})) == 200
        assert await client.status(await client.request({":path": "/nope"})) == 404
        assert server.node.ledger.counts[State.STORED] == 1


async def test_an_event_stream_among_requests() -> None:
    async with connected() as (server, _, client):
        stream = await client.request(EVENTS)
        assert await push_status(client) == 200
        while stream not in client.bodies:
            await client.read()
        assert client.bodies[stream].endswith(b"event: ping\ndata: x\n\n")
        client.h2.reset_stream(stream)
        await client.flush()
        await settle(lambda: not len(server.node.directory))
        assert await push_status(client) == 200


@pytest.mark.parametrize("token", ["", "xyz"])
async def test_a_device_without_a_token_is_refused_and_the_connection_goes_on(token: str) -> None:
    async with connected() as (_, _, client):
        assert await client.status(await client.request({":path": f"/events?token={token}"})) == 400
        assert await push_status(client) == 200


# -- ends


class HalfClosed:
    """What is left of a stream when its peer has ended its side: nothing more can be sent."""

    def __init__(self, peer: Peer) -> None:
        self.receive_some = peer.stream.receive_some
        peer.end()

    async def send_all(self, data: bytes) -> None:
        pass


@pytest.mark.parametrize("count", [1, 2_000], ids=["few", "more than the sockets take"])
async def test_requests_before_the_peer_ends_its_side_are_answered(count: int) -> None:
    async with connected(small_buffers=True) as (_, peer, client):
        streams = await many_pushes(client, count)
        client.stream = HalfClosed(peer)  # type: ignore[assignment]
        await wait_all_tasks_blocked(0.05)
        await read_to_end(client)
        assert client.ended == set(streams)


async def many_pushes(client: Http2Client, count: int) -> list[int]:
    """Pushes that come and are answered faster than the client cares to look."""
    client.h2.remote_settings = Settings(
        client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1_000_000}
    )
    streams = []
    for n in range(count):
        if n % 900 == 899:  # at most 1000 may be open at the server
            await client.flush()
            await wait_all_tasks_blocked(0.01)
        stream_id = client.h2.get_next_available_stream_id()
        head = [(":scheme", "http"), (":authority", "x"), *PUSH.items()]
        client.h2.send_headers(stream_id, head)
        client.h2.send_data(stream_id, b"x", end_stream=True)
        streams.append(stream_id)
    await client.flush()
    return streams


async def test_a_reset_connection_is_no_fault_of_the_server() -> None:
    async with connected() as (server, peer, client):
        await client.request(EVENTS)
        await settle(lambda: len(server.node.directory))
        peer.reset()
        await settle(lambda: nothing_left(server))
        assert not server._front.failed


async def test_a_broken_protocol_is_told_with_goaway() -> None:
    async with connected() as (_, peer, client):
        await client.request(EVENTS)
        await peer.send(b"\0\0\1\0\0\0\0\0\0x" * 100)  # DATA on the connection itself
        await read_to_end(client)
        assert client.goaway


# -- slow peers, under a clock that the test moves


@pytest.mark.parametrize("kind", ["nothing", "answered"])
async def test_idle_connection_is_told_why_it_ends(mock_clock: MockClock, kind: str) -> None:
    async with connected() as (_, _, client):
        if kind == "answered":
            assert await push_status(client) == 200
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(64)  # the deadline is exact to 5 %
        await read_to_end(client)
        assert client.last_words == b'{"reason":"IdleTimeout"}'


async def test_pings_keep_an_idle_connection(mock_clock: MockClock) -> None:
    async with connected() as (_, _, client):
        for n in range(4):
            client.h2.ping(b"%8d" % n)
            await client.flush()
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(40)
        assert await push_status(client) == 200


@pytest.mark.parametrize("rest", [b"", b"ab"], ids=["head alone", "body byte by byte"])
async def test_a_request_that_does_not_end_is_given_up(mock_clock: MockClock, rest: bytes) -> None:
    async with connected() as (_, _, client):
        assert await push_status(client) == 200
        stream = await client.request(PUSH, end=False)
        for byte in rest:
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(4)
            client.h2.send_data(stream, bytes([byte]))
            await client.flush()
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(10 - 4 * len(rest))
        await read_to_end(client)
        assert client.goaway


async def test_a_device_is_kept_without_limit_and_what_comes_after_it_is_not(
    mock_clock: MockClock,
) -> None:
    async with connected() as (server, _, client):
        await client.request(EVENTS)
        for _ in range(3):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(100)
        assert await push_status(client) == 200
        server.node.router.unregister("aa")
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(64)
        await read_to_end(client)
        assert client.last_words == b'{"reason":"IdleTimeout"}'
        server.node.router.register("aa")


async def test_a_peer_that_reads_no_answers_is_given_up(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "HIGH_WATER", 4096)
    async with connected(small_buffers=True) as (server, _, client):
        await many_pushes(client, 2_000)
        await wait_all_tasks_blocked(0.05)
        assert 0 < server.node.ledger.accepted < 2_000
        mock_clock.jump(10)
        await settle(lambda: nothing_left(server))


async def test_our_own_slowness_is_not_the_peers(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The router took longer than any timeout; after that all is as before."""
    monkeypatch.setattr(http2, "HIGH_WATER", 0)
    async with connected(small_buffers=True) as (server, _, client):
        router_runs = trio.Event()
        submit = server.node.push_channel.submit

        async def submit_later(pushes: Sequence[Push]) -> list[State]:
            await router_runs.wait()
            return await submit(pushes)

        monkeypatch.setattr(server.node.push_channel, "submit", submit_later)
        streams = await many_pushes(client, 800)
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(65)
        await wait_all_tasks_blocked(0.01)
        router_runs.set()
        assert {await client.status(stream_id) for stream_id in streams} == {200}
        assert await push_status(client) == 200
