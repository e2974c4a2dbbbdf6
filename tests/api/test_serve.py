"""The server under whatever a client may do to it: nothing else is harmed, and it ends in time."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from functools import partial

import hpack
import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.api.conftest import Running, make_node, serving
from tests.api.http2_client import Http2Client
from tests.serving import PATIENCE_S
from trio_push.api import serve
from trio_push.config import ServeSettings
from trio_push.node import Node
from trio_push.sockets import listen

PUSH = b'{"token": "aa", "payload": 1}'


async def connect(api: Running) -> trio.SocketStream:
    return await trio.open_tcp_stream(api.host, api.port)


async def read_all(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes, or resets."""
    data = b""
    with trio.fail_after(PATIENCE_S):
        try:
            async for chunk in stream:
                data += chunk
        except trio.BrokenResourceError:
            pass
    return data


async def assert_alive(api: Running) -> None:
    async with httpx.AsyncClient(base_url=api.url) as client:
        assert (await client.get("/healthz")).status_code == 200


# -- single requests that end a Hypercorn worker under trio

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(UPGRADE + b"Sec-WebSocket-Protocol: \xff\r\n\r\n", id="subprotocol"),
        pytest.param(UPGRADE + b"\r\nx", id="trailing-byte"),
        pytest.param(b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n", id="no-path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100, id="bad-frames"),
        pytest.param(b"POST /v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="cl"),
    ],
)
async def test_no_request_ends_the_server(api: Running, request_bytes: bytes) -> None:
    async with await connect(api) as stream, await connect(api) as bystander:
        await stream.send_all(request_bytes)
        await stream.send_eof()
        await read_all(stream)
        await bystander.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await read_all(bystander)).startswith(b"HTTP/1.1 200")
    await assert_alive(api)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes(3) + b"\4" + bytes(5)


def head(method: str, path: str, content_type: str) -> bytes:
    fields = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", path),
        ("content-type", content_type),
    ]
    return hpack.Encoder().encode(fields, huffman=False)


#: frames of any kind on few streams, some of which make sense
FRAMES = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload
    ),
    st.sampled_from([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    st.sampled_from([0, 1, 4, 5, 5, 8, 0x20]),
    st.sampled_from([0, 1, 1, 1, 3, 3, 5, 2]),
    st.sampled_from(
        [
            head("GET", "/healthz", "x"),
            head("POST", "/v1/push", "application/json"),
            head("POST", "/v1/pushes", "application/x-ndjson"),
            head("CONNECT", "/", "x"),
            b'{"token":"aa","payload":1}\n',
            bytes(4),
            b"\x7f\xff\xff\xff",
            bytes(8),
        ]
    )
    | st.binary(max_size=20),
)

GARBAGE = st.one_of(
    st.binary(max_size=300),
    # enough of HTTP for what follows to be reached
    st.builds(
        lambda start, headers, body: start + b"".join(headers) + b"\r\n" + body,
        st.sampled_from(
            [
                b"POST /v1/push HTTP/1.1\r\n",
                b"POST /v1/pushes HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n",
                b"GET /v1/devices?limit=%ff&after=%00 HTTP/1.1\r\n",
                b"GET http:///%2e HTTP/1.1\r\n",
                b"OPTIONS * HTTP/1.1\r\n",
                b"GET / HTTP/1.0\r\n",
            ]
        ),
        st.lists(
            st.sampled_from(
                [
                    b"Host: x\r\n",
                    b"Host: \xff\r\n",
                    b"Content-Length: 5\r\n",
                    b"Content-Length: 99999999999999999999\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
                    b"Upgrade: h2c\r\nHTTP2-Settings: \xff\r\n",
                    b"Connection: close\r\n",
                    b"Content-Type: \x80\r\n",
                ]
            ),
            max_size=4,
        ),
        st.one_of(st.binary(max_size=50), st.just(b"5\r\n{}\n{}\r\n0\r\n\r\n")),
    ),
    st.binary(max_size=200).map(lambda tail: PREFACE + tail),
    st.lists(FRAMES, max_size=12).map(lambda frames: PREFACE + SETTINGS + b"".join(frames)),
)


@given(garbage=st.lists(st.tuples(GARBAGE, st.booleans()), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
async def test_garbage_harms_nobody(garbage: list[tuple[bytes, bool]]) -> None:
    async with serving(make_node()) as api:
        for data, reset in garbage:
            async with await connect(api) as stream:
                await stream.send_all(data)
                if reset:
                    now = struct.pack("ii", 1, 0)
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                else:
                    await stream.send_eof()
                    await read_all(stream)
        await assert_alive(api)


@pytest.mark.parametrize("body", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_an_answer_to_half_a_request_says_that_it_is_the_last(
    api: Running, body: str
) -> None:
    async with await connect(api) as stream:
        await stream.send_all(f"POST /v1/push HTTP/1.1\r\nHost: x\r\n{body}\r\n\r\n".encode())
        answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 415")
    assert b"connection: close\r\n" in answer


async def test_an_answer_to_a_whole_request_does_not(api: Running) -> None:
    async with await connect(api) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"connection" not in await stream.receive_some()


async def test_a_client_that_pipelines_and_vanishes_leaves_nothing(api: Running) -> None:
    api.channel.shut()
    async with await connect(api) as stream:
        request = b"POST /v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        await stream.send_all((request + b"Content-Length: %d\r\n\r\n%s" % (len(PUSH), PUSH)) * 2)
        while not api.channel.waiting:
            await trio.sleep(0.01)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    api.channel.gate.set()
    with trio.fail_after(PATIENCE_S):
        while not api.node.ledger.accepted:
            await trio.sleep(0.01)
    await wait_all_tasks_blocked(0.1)
    assert api.node.ledger.accepted == 1
    api.shutdown.set()
    await api.wait_ended()


# -- connections in time


@pytest.fixture
def short_keep_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "KEEP_ALIVE_S", 0.1)


@pytest.mark.usefixtures("short_keep_alive")
async def test_an_idle_connection_is_closed(api: Running) -> None:
    # Quart-Trio alone would keep it for ever once it has answered a request.
    async with await connect(api) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("short_keep_alive")
async def test_an_idle_http2_connection_is_closed(http2: Http2Client) -> None:
    assert await http2.status(await http2.request({})) == 200
    while await http2.read():
        pass


@pytest.mark.usefixtures("short_keep_alive")
async def test_a_head_that_does_not_end_is_given_up(api: Running) -> None:
    async with await connect(api) as stream:
        await stream.send_all(b"GET /healthz HTTP/1.1\r\nX-")
        await read_all(stream)


async def test_a_connection_serves_any_number_of_requests(http2: Http2Client) -> None:
    # Hypercorn's default loses those in flight at the 1001st.
    for _ in range(22):
        streams = [await http2.request({}) for _ in range(50)]
        for stream in streams:
            assert await http2.status(stream) == 200


async def test_pipelined_requests_are_answered_in_order(api: Running) -> None:
    async with await connect(api) as stream:
        await stream.send_all(
            b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        data = await read_all(stream)
    assert data.index(b'"ready"') < data.index(b'"ok"')


@pytest.mark.parametrize("length", [b"Content-Length: 20000000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_nobody_reads_holds_nobody_up(api: Running, length: bytes) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    async with await connect(api) as stream:
        await stream.send_all(b"POST /healthz HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n")
        with suppress(trio.BrokenResourceError):  # it is heard out for a while only
            for _ in range(300):
                await stream.send_all(chunk)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 405")
    api.shutdown.set()
    await api.wait_ended()


# -- the end


async def test_idle_connections_do_not_hold_up_the_end(api: Running, http2: Http2Client) -> None:
    async with await connect(api) as used, await connect(api):
        await used.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while b'"ok"' not in answer:
            answer += await used.receive_some()
        assert await http2.status(await http2.request({})) == 200
        api.shutdown.set()
        await api.wait_ended()
        assert await read_all(used) == b""


async def stop_reading(address: tuple[str, int]) -> trio.socket.SocketType:
    """A client that asks for more than goes into the kernel's buffers, and reads none of it."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await sock.connect(address)
    await sock.send(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    await wait_all_tasks_blocked(0.1)
    return sock


async def test_a_client_that_does_not_read_cannot_hold_up_the_end() -> None:
    async with serving(make_node(ServeSettings(drain_s=1.0))) as api:
        with await stop_reading((api.host, api.port)):
            began = trio.current_time()
            api.shutdown.set()
            await api.wait_ended()
        assert trio.current_time() - began >= 1, "the client was to stall the server"


async def test_being_cancelled_ends_it_in_spite_of_such_a_client(node: Node) -> None:
    async with trio.open_nursery() as outer:
        sock = listen("127.0.0.1", 0)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        await outer.start(partial(serve.serve_api, node, [listener], shutdown=trio.Event()))
        client = await stop_reading(sock.getsockname())
        outer.cancel_scope.cancel()
    client.close()


async def test_requests_in_flight_at_the_end_are_answered(api: Running, http2: Http2Client) -> None:
    api.connect("aa")
    api.channel.shut()
    head = {":method": "POST", ":path": "/v1/push", "content-type": "application/json"}
    over_h2 = await http2.request(head, end=False)
    http2.h2.send_data(over_h2, PUSH, end_stream=True)
    await http2.flush()
    async with await connect(api) as over_h1:
        await over_h1.send_all(
            b"POST /v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(PUSH), PUSH)
        )
        while api.channel.waiting < 2:
            await trio.sleep(0.01)
        api.shutdown.set()
        await trio.sleep(0.05)
        api.channel.gate.set()
        assert b'"delivered"' in await read_all(over_h1)
    assert await http2.status(over_h2) == 200
    assert b'"delivered"' in http2.bodies[over_h2]
    await api.wait_ended()


async def test_no_connection_is_taken_after_shutdown(api: Running) -> None:
    api.shutdown.set()
    await api.ended.wait()
    with pytest.raises(OSError, match="all attempts to connect"):
        await connect(api)
