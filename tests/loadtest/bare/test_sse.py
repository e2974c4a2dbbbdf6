"""The bare event-stream loop, on the wire."""

from __future__ import annotations

import httpx
import trio

from loadtest.peers.bare import BARE_SSE
from loadtest.peers.peer import post, url
from tests.serving import PATIENCE_S


async def test_an_event_stream_from_head_to_end():
    seen = b""
    with trio.fail_after(PATIENCE_S):
        async with BARE_SSE.serve() as server, await trio.open_tcp_stream(*server.wire) as device:
            await device.send_all(b"GET /events?token=00ff HTTP/1.1\r\nHost: x\r\n\r\n")
            seen += await device.receive_some()
            await post(server.wire, "/3/device/00ff", b"one", "text/plain")
            await post(server.wire, "/3/device/ffff", b"for nobody", "text/plain")
            await server.broadcast("two")
            while b"data: two\n\n" not in seen:
                seen += await device.receive_some()
    head, _, events = seen.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    first, second, rest = events.split(b"\n\n")
    assert first == b"event: ping\ndata: one"
    assert second.startswith(b"id: ")
    assert second.endswith(b"\ndata: two")
    assert rest == b""


async def test_what_is_not_there_is_not_found():
    with trio.fail_after(PATIENCE_S):
        async with BARE_SSE.serve() as server, httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url(server.wire, "/stats"))).status_code == 404
