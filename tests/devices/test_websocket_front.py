"""The way of a WebSocket through a whole server: handshake, refusals, TLS, and the last words."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from wsproto.frame_protocol import FrameProtocol, Opcode

from tests.fakes import push
from trio_push.config import ServeSettings
from trio_push.devices import farewell
from trio_push.devices.connection import Connection
from trio_push.devices.websocket import WebSocketTransport
from trio_push.push import State
from trio_push.server import Server, open_server
from trio_push.wire.messages import FromDevice, FromServer

PATIENCE_S = 10
UPGRADE = (
    b"GET /ws?token=aa HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Server]:
    chosen = {"listen": ("127.0.0.1:0",), "api": "off", **settings}
    with trio.fail_after(PATIENCE_S):
        async with open_server(ServeSettings(**chosen), debug_echo=True) as server:
            yield server
            books = server.node.ledger.snapshot(server.node.router.held())
            assert books["balanced"], books


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


class Client:
    """A stream to a server, and wsproto's client on it."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.frames = FrameProtocol(client=True, extensions=[])

    async def response(self) -> tuple[int, bytes, bytes]:
        """Status, head and what has come after it."""
        data = b""
        while b"\r\n\r\n" not in data:
            assert (more := await self.stream.receive_some())
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), head, rest

    async def refused(self) -> tuple[int, bytes, dict[str, Any]]:
        """A response with which the connection ends."""
        status, head, body = await self.response()
        while more := await self.stream.receive_some():
            body += more
        return status, head, json.loads(body)

    async def say(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def hear(self) -> tuple[Opcode, Any]:
        """The next frame."""
        while True:
            for frame in self.frames.received_frames():
                return frame.opcode, frame.payload
            data = await self.stream.receive_some()
            assert data, "the connection was closed"
            self.frames.receive_bytes(data)

    async def ended(self) -> bool:
        return not await self.stream.receive_some()


async def dial(server: Server, request: bytes = UPGRADE) -> Client:
    port = int(server.addresses.wire[0].rpartition(":")[2])
    client = Client(await trio.open_tcp_stream("127.0.0.1", port))
    await client.stream.send_all(request)
    return client


async def connect(server: Server, request: bytes = UPGRADE) -> Client:
    client = await dial(server, request)
    status, _, rest = await client.response()
    assert status == 101
    client.frames.receive_bytes(rest)
    return client


async def test_a_device_from_its_handshake_to_its_end(server: Server) -> None:
    device = await connect(server)
    connection = server.node.directory.get("aa")
    assert connection is not None
    assert connection.transport.name == "ws"
    await server.node.push_channel.submit([push(b"[1]")])
    opcode, text = await device.hear()
    assert opcode is Opcode.TEXT
    assert json.loads(text)["data"] == [1]
    await device.say(device.frames.close(1000))
    assert await device.hear() == (Opcode.CLOSE, (1000, ""))
    assert await device.ended()
    assert server.node.directory.get("aa") is None


@pytest.mark.parametrize("cut", [0, 3, len(UPGRADE) - 1, len(UPGRADE), len(UPGRADE) + 2])
async def test_frames_may_come_with_the_handshake(server: Server, cut: int) -> None:
    ping = bytes(FrameProtocol(client=True, extensions=[]).ping(b"early"))
    device = await dial(server, (UPGRADE + ping)[:cut])
    await trio.sleep(0.01 if cut else 0)
    await device.say((UPGRADE + ping)[cut:])
    status, _, rest = await device.response()
    assert status == 101
    device.frames.receive_bytes(rest)
    assert await device.hear() == (Opcode.PONG, b"early")


async def test_a_provider_may_become_a_device(server: Server) -> None:
    device = await dial(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await device.response())[0] == 200
    await device.say(UPGRADE)
    assert (await device.response())[0] == 101


REFUSED: list[tuple[bytes, int, str]] = [
    (UPGRADE.replace(b"?token=aa", b""), 400, "MissingDeviceToken"),
    (UPGRADE.replace(b"token=aa", b"token=xy"), 400, "BadDeviceToken"),
    (UPGRADE.replace(b"token=aa", b"token=dead"), 410, "Unregistered"),
    (UPGRADE.replace(b"Key: dGhl", b"Key: "), 400, "BadRequest"),
    (UPGRADE.replace(b"localhost", b"\xff"), 400, "BadRequest"),
    (UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \xff\r\n\r\n"), 400, "BadRequest"),
    (
        UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: \xff\r\n\r\n"),
        400,
        "BadRequest",
    ),
    (UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nab"), 400, "BadRequest"),
    (UPGRADE.replace(b"Version: 13", b"Version: 14"), 426, "BadRequest"),
    (UPGRADE.replace(b"Upgrade: websocket\r\n", b""), 426, "BadRequest"),
    (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close"), 426, "BadRequest"),
    (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), 426, "BadRequest"),
]


@pytest.mark.parametrize(("request_", "status", "reason"), REFUSED)
async def test_refusals_are_http(server: Server, request_: bytes, status: int, reason: str) -> None:
    server.node.router.unregister("dead")
    answer, head, body = await (await dial(server, request_)).refused()
    assert (answer, body["reason"]) == (status, reason)
    assert b"\r\nConnection: close" in head
    assert (b"\r\nSec-WebSocket-Version: 13" in head) is (status == 426)
    assert len(server.node.directory) == 0
    assert (await connect(server)) is not None


async def test_no_room() -> None:
    async with serving(max_connections=1) as server:
        first = await connect(server)
        refused = await dial(server, UPGRADE.replace(b"=aa", b"=bb"))
        status, head, body = await refused.refused()
        assert (status, body["reason"]) == (503, "ServiceUnavailable")
        assert b"\r\nRetry-After: 10" in head
        assert not (await first.hear_nothing()) if hasattr(first, "hear_nothing") else True


async def test_other_methods_and_http2_know_no_websocket(server: Server) -> None:
    answer = await dial(server, b"HEAD /ws HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await answer.response())[0] == 404


async def test_an_event_stream_stays_one_whatever_it_asks_for(server: Server) -> None:
    device = await dial(server, UPGRADE.replace(b"/ws", b"/events"))
    status, head, _ = await device.response()
    assert status == 200
    assert b"text/event-stream" in head


# -- the end


async def test_the_older_connection_reads_why_it_is_closed(server: Server) -> None:
    older = await connect(server)
    await older.say(b"\x81")  # what is half said does not matter
    newer = await connect(server)
    assert await older.hear() == (Opcode.CLOSE, (4500, "replaced"))
    assert await older.ended()
    await newer.say(newer.frames.ping())
    assert await newer.hear() == (Opcode.PONG, b"")


async def test_one_that_talks_on_reads_why_it_is_closed(server: Server) -> None:
    """What it has sent and nobody has read would turn the close into a reset."""
    device = await connect(server)
    await device.say(b"\x83\x80abcd", device.frames.send_data("x" * 30_000))
    opcode, (code, reason) = await device.hear()
    assert (opcode, code) == (Opcode.CLOSE, 1002)
    assert "opcode" in reason
    assert await device.ended()


async def test_one_that_goes_without_a_word(server: Server) -> None:
    device = await connect(server)
    await device.stream.aclose()
    while server.node.directory.get("aa") is not None:
        await trio.sleep(0.001)
    assert await server.node.push_channel.submit([push(b"x")]) == [State.STORED]


async def test_a_fault_of_ours_is_said_and_logged(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hear(connection: Connection, message: FromDevice) -> FromServer | None:
        raise ZeroDivisionError

    transport = server._front._websockets[b"/ws"]
    monkeypatch.setattr(transport, "_hear", hear)
    bystander = await connect(server, UPGRADE.replace(b"=aa", b"=bb"))
    message = b'{"type":"ack","notification_id":"a"}'
    with structlog.testing.capture_logs() as logs:
        device = await connect(server)
        await device.say(device.frames.send_data(message.decode()))
        assert await device.hear() == (Opcode.CLOSE, (1011, "internal_error"))
        assert await device.ended()
        early = await dial(server, UPGRADE + bytes(device.frames.send_data(message.decode())))
        assert (await early.response())[0] == 101
        assert await early.ended()
    assert [entry["event"] for entry in logs] == ["connection_failed"] * 2
    assert server._front.failed == {"ZeroDivisionError": 2}
    assert server.node.directory.get("aa") is None
    await bystander.say(bystander.frames.ping())
    assert await bystander.hear() == (Opcode.PONG, b"")


async def test_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (1234, 1234))
    async with serving(drain_s=0.2) as server, trio.open_nursery() as nursery:
        device = await connect(server)
        nursery.start_soon(server.drain)
        assert await device.hear() == (Opcode.CLOSE, (1001, "retry: 1234"))
        await device.say(device.frames.close(1001))
        assert await device.ended()


async def test_an_echo_has_no_limits(server: Server) -> None:
    device = await connect(server, UPGRADE.replace(b"/ws", b"/echo"))
    big = "m\u00e1gic" * 50_000
    await device.say(device.frames.send_data(big))
    text = ""
    while len(text) < len(big):
        opcode, part = await device.hear()
        assert opcode in (Opcode.TEXT, Opcode.CONTINUATION)
        text += part
    assert text == big
    for _ in range(1100):
        await device.say(device.frames.send_data(b"\xff"))
        assert await device.hear() == (Opcode.BINARY, b"\xff")


async def test_there_is_no_echo_unless_asked_for() -> None:
    settings = ServeSettings(listen=("127.0.0.1:0",), api="off")
    async with open_server(settings) as server:
        client = await dial(server, UPGRADE.replace(b"/ws", b"/echo"))
        assert (await client.response())[0] == 404


# -- TLS


async def test_over_tls(tmp_path: Path) -> None:
    """Frames that lie decrypted in the TLS layer are heard although the socket is not readable."""
    tls = {"tls_listen": ("127.0.0.1:0",), "tls_dev": True, "tls_dev_dir": str(tmp_path)}
    async with serving(**tls) as server:
        trust = ssl.create_default_context(cafile=server.addresses.ca_file)
        port = int(server.addresses.tls[0].rpartition(":")[2])
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", port, https_compatible=True, ssl_context=trust
        )
        device = Client(stream)  # type: ignore[arg-type]
        await device.say(UPGRADE)
        assert (await device.response())[0] == 101
        ping = device.frames.ping
        await device.say(*(ping(b"%03d" % n + b"x" * 120) for n in range(100)))
        for n in range(100):
            assert await device.hear() == (Opcode.PONG, b"%03d" % n + b"x" * 120)
        server.node.router.unregister("aa")
        assert await device.hear() == (Opcode.CLOSE, (4501, "unregistered"))
        assert await device.ended()
