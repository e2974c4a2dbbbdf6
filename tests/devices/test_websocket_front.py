"""The way of a WebSocket through a whole server: handshake, refusals, TLS, and the last words."""

from __future__ import annotations

import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.frame_protocol import FrameProtocol, Opcode

from tests.auth.issuer import DEVICE, key_file, token
from tests.fakes import push
from tests.serving import Peer, Response, nothing_left, request, serving, settle
from trio_push.devices import expiry, farewell
from trio_push.devices.connection import Connection
from trio_push.push import State
from trio_push.server import Server
from trio_push.sockets import LINGER_S
from trio_push.wire.messages import FromDevice, FromServer

UPGRADE = (
    b"GET /ws?token=aa HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING = b"\x89\x85\0\0\0\0early"


class Device:
    """A peer that speaks WebSocket, by wsproto."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.frames = FrameProtocol(client=True, extensions=[])

    @classmethod
    async def upgraded(cls, peer: Peer, request: bytes = UPGRADE) -> Device:
        await peer.send(request)
        response = await peer.response()
        assert response.status == 101, response
        return cls(peer)

    async def say(self, *frames: bytes) -> None:
        await self._peer.send(b"".join(frames))

    async def hear(self) -> tuple[Opcode, Any]:
        """The next frame."""
        while True:
            for frame in self.frames.received_frames():
                return frame.opcode, frame.payload
            data = await self._peer.receive()
            assert data, "the connection was closed"
            self.frames.receive_bytes(data)

    async def is_alive(self) -> bool:
        await self.say(self.frames.ping(b"?"))
        return await self.hear() == (Opcode.PONG, b"?")

    async def leave(self) -> None:
        """Close as both sides should."""
        await self.say(self.frames.close(1000))
        assert await self.hear() == (Opcode.CLOSE, (1000, ""))
        assert await self._peer.read_to_end() == b""


async def test_a_device_from_its_handshake_to_its_end() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await server.node.push_channel.submit([push(b"stored")])
        device = await Device.upgraded(peer)
        await server.node.push_channel.submit([push(b"[1]")])
        texts = [(await device.hear())[1] for _ in range(2)]
        assert [json.loads(text)["data"] for text in texts] == ["stored", [1]]
        await device.leave()
        assert server.node.directory.get("aa") is None


@pytest.mark.parametrize("cut", [3, len(UPGRADE) - 1, len(UPGRADE), len(UPGRADE) + 2, -1])
async def test_frames_may_come_with_the_handshake(cut: int) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send((UPGRADE + PING)[:cut])
        await wait_all_tasks_blocked(0.01)
        await peer.send((UPGRADE + PING)[cut:])
        assert (await peer.response()).status == 101
        assert await Device(peer).hear() == (Opcode.PONG, b"early")


async def test_a_connection_may_begin_with_other_requests() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(request("GET", "/healthz") + UPGRADE + PING)
        assert (await peer.response()).body == b"ok\n"
        assert (await peer.response()).status == 101
        assert await Device(peer).hear() == (Opcode.PONG, b"early")


def with_header(line: bytes) -> bytes:
    return UPGRADE[:-2] + line + b"\r\n\r\n"


async def refusal(server: Server, request: bytes) -> Response:
    """A response after which the connection ends."""
    async with Peer.connected(server) as peer:
        await peer.send(request)
        response = await peer.response()
        assert await peer.read_to_end() == b""
        assert response.headers["connection"] == "close"
        return response


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (UPGRADE.replace(b"?token=aa", b""), 400, "MissingDeviceToken"),
        (UPGRADE.replace(b"=aa", b"=xy"), 400, "BadDeviceToken"),
        (UPGRADE.replace(b"=aa", b"=dead"), 410, "Unregistered"),
        (UPGRADE.replace(b"Key: dGhl", b"Key: "), 400, "BadRequest"),
        (UPGRADE.replace(b"localhost", b"\xff"), 400, "BadRequest"),
        (with_header(b"Sec-WebSocket-Protocol: \xff"), 400, "BadRequest"),
        (with_header(b"Sec-WebSocket-Extensions: \xff"), 400, "BadRequest"),
        (with_header(b"Content-Length: 2") + b"ab", 400, "BadRequest"),
        (UPGRADE.replace(b"13", b"14"), 426, "BadRequest"),
        (UPGRADE.replace(b"Upgrade: websocket\r\n", b""), 426, "BadRequest"),
        (UPGRADE.replace(b"Connection: Upgrade", b"Connection: close"), 426, "BadRequest"),
        (UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"), 426, "BadRequest"),
    ],
)
async def test_refusals_are_http(sent: bytes, status: int, reason: str) -> None:
    async with serving() as server:
        since = server.node.router.unregister("dead")
        response = await refusal(server, sent)
        body = json.loads(response.body)
        assert (response.status, body["reason"]) == (status, reason)
        assert body.get("timestamp") == (since if status == 410 else None)
        assert response.headers.get("sec-websocket-version") == ("13" if status == 426 else None)


async def test_no_room() -> None:
    async with serving(max_connections=1) as server:
        async with Peer.connected(server) as peer:
            first = await Device.upgraded(peer)
            response = await refusal(server, UPGRADE.replace(b"=aa", b"=bb"))
            assert (response.status, response.headers["retry-after"]) == (503, "10")
            assert await first.is_alive()
        await settle(lambda: nothing_left(server))


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
async def test_for_other_methods_there_is_nothing_special(method: str) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(UPGRADE.replace(b"GET", method.encode()))
        head = await peer.read_until(b"\r\n\r\n")
        assert head.split()[1] == (b"204" if method == "OPTIONS" else b"404")


async def test_an_event_stream_stays_one_whatever_it_asks_for() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(UPGRADE.replace(b"/ws", b"/events"))
        response = await peer.response()
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")


# -- the end


async def test_the_older_connection_reads_why_it_is_closed() -> None:
    async with serving() as server, Peer.connected(server) as one, Peer.connected(server) as two:
        older = await Device.upgraded(one)
        await older.say(b"\x81")  # what is half said does not matter
        newer = await Device.upgraded(two)
        assert await older.hear() == (Opcode.CLOSE, (4500, "replaced"))
        assert await one.read_to_end() == b""
        assert await newer.is_alive()


async def test_one_that_talks_on_reads_why_it_is_closed() -> None:
    """What it has sent and nobody has read would turn the close into a reset."""
    async with serving() as server, Peer.connected(server) as peer:
        device = await Device.upgraded(peer)
        await device.say(b"\x83\x80abcd", device.frames.send_data("x" * 30_000))
        assert await device.hear() == (Opcode.CLOSE, (1002, "Invalid opcode 0x3"))
        assert await peer.read_to_end() == b""


async def test_one_that_does_not_close_is_not_waited_for(mock_clock: MockClock) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await Device.upgraded(peer)
        server.node.router.unregister("aa")
        await settle(lambda: server._front.leaving == 1)
        mock_clock.jump(LINGER_S)
        await settle(lambda: nothing_left(server))


@pytest.mark.parametrize("how", ["close", "reset", "end"])
async def test_one_that_goes_without_a_word(how: str) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await Device.upgraded(peer)
        getattr(peer, how)()
        await settle(lambda: nothing_left(server))
        assert await server.node.push_channel.submit([push()]) == [State.STORED]


async def test_a_fault_of_ours_is_told_and_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(connection: Connection, message: FromDevice) -> FromServer | None:
        raise ZeroDivisionError

    async with (
        serving(sound=False) as server,
        Peer.connected(server) as peer,
        Peer.connected(server) as other,
        Peer.connected(server) as third,
    ):
        monkeypatch.setattr(server._front._websockets[b"/ws"], "_hear", hear)
        bystander = await Device.upgraded(other, UPGRADE.replace(b"=aa", b"=bb"))
        device = await Device.upgraded(peer)
        message = bytes(device.frames.send_data('{"type":"auth","token":"t"}'))
        with structlog.testing.capture_logs() as logs:
            await device.say(message)
            assert await device.hear() == (Opcode.CLOSE, (1011, "internal_error"))
            assert await peer.read_to_end() == b""
            early = await Device.upgraded(third, UPGRADE + message)
            assert await early.hear() == (Opcode.CLOSE, (1011, "internal_error"))
        assert [entry["event"] for entry in logs] == ["connection_failed"] * 2
        assert server.node.directory.get("aa") is None
        assert await bystander.is_alive()


async def test_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farewell, "RETRY_MS", (1234, 1234))
    async with (
        serving(drain_s=1, sound=False) as server,
        Peer.connected(server) as peer,
        trio.open_nursery() as nursery,
    ):
        device = await Device.upgraded(peer)
        nursery.start_soon(server.drain)
        assert await device.hear() == (Opcode.CLOSE, (1001, "retry: 1234"))
        await device.say(device.frames.close(1001))
        assert await peer.read_to_end() == b""


# -- TLS


async def test_what_tls_has_read_already_is_heard(
    tls: dict[str, object], trust: ssl.SSLContext
) -> None:
    """It makes no socket readable: a record holds more than is read from it at a time."""
    async with serving(**tls) as server, Peer.connected(server, trust=trust) as peer:
        device = await Device.upgraded(peer)
        payloads = [b"%03d" % n + b"x" * 120 for n in range(100)]
        await device.say(*map(device.frames.ping, payloads))
        for payload in payloads:
            assert await device.hear() == (Opcode.PONG, payload)
        server.node.router.unregister("aa")
        assert await device.hear() == (Opcode.CLOSE, (4501, "unregistered"))
        assert await peer.read_to_end() == b""


# -- for tests of the protocol


async def test_an_echo_says_everything_back() -> None:
    async with serving(debug_echo=True) as server, Peer.connected(server) as peer:
        device = await Device.upgraded(peer, UPGRADE.replace(b"/ws", b"/echo"))
        for _ in range(1100):
            await device.say(device.frames.send_data(b"\xff"))
            assert await device.hear() == (Opcode.BINARY, b"\xff")
        big = "m\u00e1gic" * 50_000
        await device.say(device.frames.send_data(big))
        text = ""
        while len(text) < len(big):
            text += (await device.hear())[1]
        assert text == big


async def test_there_is_no_echo_unless_asked_for() -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.send(UPGRADE.replace(b"/ws", b"/echo"))
        assert (await peer.response()).status == 404


# -- who shows its JWT in the first message


@pytest.fixture
def auth(tmp_path: Path) -> dict[str, object]:
    """Settings of a server that asks devices for a JWT."""
    key = tmp_path / "key"
    key.write_bytes(key_file("HS256"))
    return {"device_auth": "jwt", "jwt_key": str(key)}


def jwt(for_s: float = 60) -> bytes:
    return token(exp=time.time() + for_s)


def auth_message(device: Device, jwt: bytes) -> bytes:
    return bytes(device.frames.send_data(json.dumps({"type": "auth", "token": jwt.decode()})))


NAMELESS = UPGRADE.replace(b"?token=aa", b"")


@pytest.mark.parametrize("cut", [0, 1, 20, None])
async def test_by_the_first_message(auth: dict[str, object], cut: int | None) -> None:
    async with serving(sound=False, **auth) as server, Peer.connected(server) as peer:
        device = Device(peer)
        message = auth_message(device, jwt()) + PING
        await peer.send(NAMELESS + message[:cut])
        assert (await peer.response()).status == 101
        assert len(server.node.directory) == (cut is None)
        if cut is not None:
            await peer.send(message[cut:])
        assert await device.hear() == (Opcode.TEXT, '{"type":"auth_result","ok":true}')
        assert await device.hear() == (Opcode.PONG, b"early")
        assert server.node.directory.get(DEVICE) is not None
        await device.leave()


@pytest.mark.parametrize("where", ["query", "header"])
async def test_with_the_handshake(auth: dict[str, object], where: str) -> None:
    handshake = (
        UPGRADE.replace(b"=aa", b"=" + jwt())
        if where == "query"
        else NAMELESS[:-2] + b"Authorization: Bearer " + jwt() + b"\r\n\r\n"
    )
    async with serving(sound=False, **auth) as server, Peer.connected(server) as peer:
        device = await Device.upgraded(peer, handshake)
        assert await device.is_alive()
        assert server.node.directory.get(DEVICE) is not None
        await device.leave()


@pytest.mark.parametrize(
    ("handshake", "first", "close"),
    [
        (NAMELESS, "auth", (4502, "InvalidAccessToken")),
        (UPGRADE, "right", (4502, "Forbidden")),
        (NAMELESS, "gone", (4501, "Unregistered")),
        (NAMELESS, "full", (1013, "ServiceUnavailable")),
        (NAMELESS, "ping", (4502, "MissingAccessToken")),
        (NAMELESS, "fault", (4502, "MissingAccessToken")),
    ],
)
async def test_refused_at_the_first_message(
    auth: dict[str, object], handshake: bytes, first: str, close: tuple[int, str]
) -> None:
    async with serving(sound=False, **auth, max_connections=1) as server:
        async with Peer.connected(server) as peer:
            device = await Device.upgraded(peer, handshake)
            if first == "gone":
                server.node.router.unregister(DEVICE)
            if first == "full":
                server._admission._max_connections = 0
            right = auth_message(device, jwt())
            says = {"auth": auth_message(device, b"a.b.c"), "ping": PING, "fault": b"\x83\0"}
            await device.say(says.get(first, right))
            assert await device.hear() == (Opcode.CLOSE, close)
            assert await peer.read_to_end() == b""
            assert len(server.node.directory) == 0
        await settle(lambda: nothing_left(server))


@pytest.mark.parametrize("half", [b"", b"\x81"])
async def test_the_first_message_must_come_within_the_head_timeout(
    auth: dict[str, object], mock_clock: MockClock, half: bytes
) -> None:
    async with (
        serving(sound=False, head_timeout_s=10, **auth) as server,
        Peer.connected(server) as peer,
    ):
        await Device.upgraded(peer, NAMELESS)
        await peer.send(half)
        await settle(lambda: len(server._front.visitors) == 1)
        mock_clock.jump(10)
        await settle(lambda: nothing_left(server))
        assert await peer.read_to_end() == b""


async def test_its_jwt_expires(auth: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "TICK_S", 0.01)
    settings = {**auth, "auth_leeway_s": 0}
    async with serving(sound=False, **settings) as server, Peer.connected(server) as peer:
        device = await Device.upgraded(peer, NAMELESS)
        await device.say(auth_message(device, jwt(for_s=1)))
        assert (await device.hear())[0] is Opcode.TEXT
        assert await device.hear() == (Opcode.CLOSE, (4003, "auth_expired"))
