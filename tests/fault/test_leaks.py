"""Devices and pushes that come and go leave nothing behind."""

from __future__ import annotations

import gc
import socket
import ssl
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import FakeDevice, push
from tests.serving import Peer, nothing_left, request, serving, settle
from trio_push.node import Node
from trio_push.server import Server

DEVICES = 400


async def crowd(server: Server) -> None:
    """Devices connect, half of them take the place of another, all get a push, all go."""
    async with AsyncExitStack() as stack:
        peers = [Peer.connected(server) for _ in range(DEVICES)]
        devices = [await stack.enter_async_context(peer) for peer in peers]
        for n, device in enumerate(devices):
            await device.listen(f"{n // 2:04x}")
        await server.node.router.broadcast(push(b"x", token=""))
        await wait_all_tasks_blocked(0.01)
    await settle(lambda: nothing_left(server))


async def test_devices_that_come_and_go(mock_clock: MockClock) -> None:
    async with serving(keepalive_s=30) as server:
        sizes = []
        for _ in range(6):
            await crowd(server)
            # who has gone is dropped from the round of the heartbeat when its turn comes
            mock_clock.jump(31)
            await wait_all_tasks_blocked(0.01)
            assert len(server._heartbeat._round) == 0
            gc.collect()
            tasks = trio.lowlevel.current_statistics().tasks_living
            sizes.append((tasks, len(gc.get_objects())))
        assert len({tasks for tasks, _ in sizes}) == 1
        # trio keeps a thousand deadlines that have been called off
        assert sizes[-1][1] - sizes[0][1] < 3 * DEVICES


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
async def test_a_device_leaves_nothing_to_the_garbage_collector(
    over_tls: bool, tls: dict[str, Any], trust: ssl.SSLContext
) -> None:
    """What lies in cycles when a growing population is frozen would stay for ever."""

    def be_a_device(url: str) -> None:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as plain:
            sock = trust.wrap_socket(plain, server_hostname="localhost") if over_tls else plain
            with sock:
                sock.sendall(request("POST", "/3/device/aa", b"x"))
                assert b"200 OK" in sock.recv(1000)
                sock.sendall(request("GET", "/events?token=aa"))
                assert b"text/event-stream" in sock.recv(1000)

    async with serving(**tls) as server:
        url = server.addresses.tls[0] if over_tls else server.addresses.wire[0]
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await trio.to_thread.run_sync(be_a_device, url)
                await settle(lambda: nothing_left(server))
            assert gc.collect() == 0
        finally:
            gc.enable()


async def test_pushes_that_come_and_go(autojump_clock: MockClock, node: Node) -> None:
    """Stored, replaced, delayed, recalled, expired, delivered."""
    router = node.router
    for n in range(300):
        token = f"{n % 50:02x}"
        now = node.clock.wall()
        await node.push_channel.submit(
            [
                push(b"a", token, newest_wins=True),
                push(b"b", token, newest_wins=True),
                push(b"c", token, ttl_s=now + 20),
                push(b"d", token, id="recalled"),
                push(b"e", token, not_before=now + 3),
                push(b"f", token, not_before=now + 300, collapse_id="c"),
                push(b"g", token, not_before=now + 400, collapse_id="c", id="recalled"),
            ]
        )
        router.recall("recalled")
        device = FakeDevice(token)
        router.attach(device)
        await trio.sleep(5)
        router.delivery.disconnect(device)
    await trio.sleep(4000)
    for n in range(50):
        router.attach(FakeDevice(f"{n:02x}"))
    store = router._store
    assert sum(router.held().values()) == 0
    assert store._by_id == {}
    assert not any(store._shelves.values())
    assert len(store._expiry._seconds) < 200
    assert len(store._due._seconds) < 200
    assert not router._delay._line
    assert router._delay.timers == 0
