"""Whatever bytes come on whatever connection: they harm that connection and nothing else."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import pytest
import trio
from h2.connection import H2Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import push
from tests.serving import Peer, bounded, request, serving
from trio_push.server import Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def http2_head(path: str) -> bytes:
    """What a decent client begins with: preface, settings and one request."""
    client = H2Connection()
    client.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)]
    client.send_headers(1, fields, end_stream=True)
    return client.data_to_send()


#: beginnings that lead far into each protocol
HEADS = [
    b"",
    PREFACE,
    http2_head("/healthz"),
    http2_head("/events?token=aa"),
    http2_head("/events?token=bb"),
    request("POST", "/3/device/aa", b"x"),
    request("POST", "/3/device/aa", b"x")[:-1],
    request("GET", "/events?token=aa"),
    request("POST", "/", b"x", transfer_encoding="chunked")[:-1],
    b"GET /events?token=",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame of HTTP/2 that may well be nonsense."""
    payload = draw(st.binary(max_size=60))
    length = draw(st.just(len(payload)) | st.integers(0, 2**24 - 1))
    kind, flags = draw(st.integers(0, 12)), draw(st.integers(0, 255))
    stream = draw(st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1, 2**32 - 1]))
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


chunks = st.lists(st.binary(max_size=200) | frames() | st.sampled_from(HEADS), max_size=6)
talks = st.lists(st.tuples(st.sampled_from(HEADS), chunks), min_size=1, max_size=12)
Talk = tuple[bytes, list[bytes]]
Listener = Literal["plain", "tls", "inside tls"]


async def talk(server: Server, listener: Listener, trust: ssl.SSLContext, words: Talk) -> None:
    head, rest = words
    url = server.addresses.wire[0] if listener == "plain" else server.addresses.tls[0]
    how = trust if listener == "inside tls" else None
    async with Peer.connected(url, trust=how) as peer:
        # The server may close at any word.
        with suppress(trio.BrokenResourceError):
            for chunk in (head, *rest):
                await peer.send(chunk)
                await trio.lowlevel.checkpoint()
            with trio.move_on_after(0.01):
                await peer.read_to_end()


async def broadcast_on(server: Server) -> None:
    """So that whoever became a device is written to at any moment."""
    while True:
        await trio.lowlevel.checkpoint()
        await server.node.router.broadcast(push(b"x" * 1000, token="", ttl_s=0))


@pytest.mark.parametrize("listener", ["plain", "tls", "inside tls"])
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(talks=talks)
def test_garbage(
    listener: Listener, talks: Sequence[Talk], tls: dict[str, Any], trust: ssl.SSLContext
) -> None:
    async def run() -> None:
        async with bounded(), serving(**tls) as server, trio.open_nursery() as pushing:
            pushing.start_soon(broadcast_on, server)
            async with trio.open_nursery() as nursery:
                for words in talks:
                    nursery.start_soon(talk, server, listener, trust, words)
            pushing.cancel_scope.cancel()

    trio.run(run)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000 + b"\r\n\r\n", b"431", id="head"),
        pytest.param(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"431", id="target"),
        pytest.param(request("POST", "/3/device/aa", b"x" * 4097), b"413", id="body"),
        pytest.param(request("POST", "/3/device/aa", b"x" * 900_000), b"413", id="long body"),
        pytest.param(request("POST", "/3/device/aa", b"x" * 2**21), b"413", id="endless body"),
        pytest.param(
            request("GET", "/", transfer_encoding="chunked") + b"1\r\nx\r\n" * 400_000,
            b"404",
            id="endless chunks",
        ),
        pytest.param(request("GET", "/healthz") * 3000, b"429", id="pipelined beyond measure"),
    ],
)
async def test_too_much_is_answered(sent: bytes, status: bytes) -> None:
    """The answer is heard although the peer was still sending."""
    async with serving() as server, Peer.connected(server) as peer:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                with suppress(trio.BrokenResourceError):
                    await peer.send(sent)

            answer = await peer.response()
            nursery.cancel_scope.cancel()
        assert answer.status == int(status)
