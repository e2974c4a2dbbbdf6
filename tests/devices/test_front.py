"""The front door on real sockets: who comes in, who is refused, and that one harms no other."""

from __future__ import annotations

import json
import socket
import ssl
import time
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.serving import Peer, nothing_left, request, serving, settle
from trio_push.intake.apns import ApnsIntake
from trio_push.server import Server

EVENTS = request("GET", "/events?token=aa")
#: include/net/tcp_states.h of Linux: we have ended the connection, and the peer knows
TCP_FIN_WAIT2 = 5


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
async def test_a_device_gets_what_was_stored_and_what_comes(
    over_tls: bool, tls: dict[str, object], trust: ssl.SSLContext
) -> None:
    async with (
        serving(**tls) as server,
        Peer.connected(server) as provider,
        Peer.connected(server, trust=trust if over_tls else None) as device,
    ):
        await provider.push("aa", b"stored")
        await device.listen("AA")
        await provider.push("aa", b"live")
        events = [await device.event(), await device.event()]
        assert [(event.event, event.data) for event in events] == [
            ("ping", "stored"),
            ("ping", "live"),
        ]
        epochs = {event.id.partition(":")[0] for event in events}
        assert epochs == {server.node.router.epoch}


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("/events", 400, "MissingDeviceToken"),
        ("/events?token=", 400, "MissingDeviceToken"),
        ("/events?token=abc", 400, "BadDeviceToken"),
        ("/events?token=%FF%FF", 400, "BadDeviceToken"),
        ("/events?token=" + "ab" * 101, 400, "BadDeviceToken"),
        ("/events?token=dead", 410, "Unregistered"),
    ],
)
async def test_refused(target: str, status: int, reason: str) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        since = server.node.router.unregister("dead")
        response = await peer.request("GET", target, origin="http://example.org")
        assert response.status == status
        body = json.loads(response.body)
        assert body["reason"] == reason
        assert body.get("timestamp") == (since if status == 410 else None)
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["connection"] == "close"
        assert await peer.read_to_end() == b""


async def test_no_more_devices_than_fit() -> None:
    async with serving(max_connections=2) as server:
        async with Peer.connected(server) as first, Peer.connected(server) as second:
            await first.listen("aa")
            await second.listen("bb")
            async with Peer.connected(server) as third:
                response = await third.request("GET", "/events?token=cc")
                assert response.status == 503
                assert int(response.headers["retry-after"]) > 0
                assert json.loads(response.body)["reason"] == "ServiceUnavailable"
            async with Peer.connected(server) as provider:
                assert (await provider.push("aa", b"x")).status == 200
            assert (await first.event()).data == "x"
        await settle(lambda: nothing_left(server))
        async with Peer.connected(server) as third:
            await third.listen("cc")


async def test_no_faster_than_the_connect_rate(mock_clock: MockClock) -> None:
    async with serving(connect_rate=2, sound=False) as server:
        for _ in range(2):
            statuses = []
            for n in range(4):
                async with Peer.connected(server) as peer:
                    response = await peer.request("GET", f"/events?token={n:02x}")
                    statuses.append((response.status, response.headers.get("retry-after")))
            assert statuses == [(200, None)] * 2 + [(503, "1")] * 2
            mock_clock.jump(1)


async def test_newest_connection_wins() -> None:
    async with serving() as server:
        async with Peer.connected(server) as old, Peer.connected(server) as new:
            await old.listen("aa")
            await new.listen("aa")
            assert await old.read_to_end() == b""
            async with Peer.connected(server) as provider:
                await provider.push("aa", b"x")
            assert (await new.event()).data == "x"
        await settle(lambda: nothing_left(server))


# -- devices that go


async def test_a_device_that_is_gone_before_it_has_come() -> None:
    """Its stored push is written to a socket whose peer has closed: it stays for the next."""
    async with serving() as server:
        async with Peer.connected(server) as provider:
            await provider.push("aa", b"x")
        _come_and_go(server)
        await settle(lambda: nothing_left(server))
        async with Peer.connected(server) as peer:
            await peer.listen("aa")
            assert (await peer.event()).data == "x"


def _come_and_go(server: Server) -> None:
    """Ask for events and end the connection, all before the server has a turn."""
    url = urlsplit(server.addresses.wire[0])
    with socket.create_connection((url.hostname, url.port)) as peer:
        peer.sendall(EVENTS)
        peer.shutdown(socket.SHUT_WR)
        while peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_FIN_WAIT2:
            time.sleep(0.001)  # the server's kernel has not seen the end yet


@pytest.mark.parametrize("how", ["close", "reset", "end"])
async def test_a_device_that_goes_is_let_go(how: str) -> None:
    async with serving() as server, Peer.connected(server) as peer:
        await peer.listen("aa")
        getattr(peer, how)()
        await settle(lambda: nothing_left(server))
        assert server.node.ledger.accepted == 0


# -- guarded


@pytest.mark.parametrize("target", ["GET /healthz", "POST /3/device/aa", "GET /events?token=aa"])
async def test_a_fault_of_ours_ends_one_connection(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    async with (
        serving(sound=False) as server,
        Peer.connected(server) as device,
        Peer.connected(server) as peer,
        Peer.connected(server) as provider,
    ):
        await device.listen("bb")
        with monkeypatch.context() as patch:
            patch.setattr("trio_push.watch.health.Health.answer", fault)
            patch.setattr(ApnsIntake, "answer", fault)
            patch.setattr("trio_push.devices.front.FrontDoor._check", fault)
            await peer.send(request(*target.split(" ")))
            assert await peer.read_to_end() == b""
        assert server._front.failed == {"ZeroDivisionError": 1}
        assert (await provider.push("bb", b"x")).status == 200
        assert (await device.event()).data == "x"


# -- TLS


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="stalled handshake"),
    ],
)
async def test_a_handshake_ends_within_the_head_timeout(
    mock_clock: MockClock, tls: dict[str, object], sent: bytes
) -> None:
    async with (
        serving(head_timeout_s=10, **tls) as server,
        Peer.connected(server.addresses.tls[0]) as peer,
    ):
        await peer.send(sent)
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(10)
        assert await peer.read_to_end() == b""


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 5000]
)
async def test_what_is_no_handshake_is_dropped(tls: dict[str, object], sent: bytes) -> None:
    async with serving(**tls) as server, Peer.connected(server.addresses.tls[0]) as peer:
        await peer.send(sent)
        assert await peer.events(may_be_reset=True) == []


async def test_reset_before_it_was_accepted(tls: dict[str, object]) -> None:
    async with serving(**tls) as server:
        for url in server.addresses.tls[0], server.addresses.wire[0]:
            async with Peer.connected(url) as peer:
                peer.reset()
        await settle(lambda: nothing_left(server))


async def test_a_client_that_does_not_trust_us(tls: dict[str, object]) -> None:
    async with serving(**tls) as server:
        async with Peer.connected(server, trust=ssl.create_default_context()) as peer:
            with pytest.raises(trio.BrokenResourceError):
                await peer.send(EVENTS)
        await settle(lambda: nothing_left(server))


async def test_the_end_of_a_stream_over_tls_is_no_cut(
    tls: dict[str, object], trust: ssl.SSLContext
) -> None:
    async with serving(**tls) as server, Peer.connected(server, trust=trust) as device:
        await device.listen("aa")
        server.node.router.unregister("aa")
        assert await device.read_to_end() == b""  # trio tells a cut by an exception
        server.node.router.register("aa")
