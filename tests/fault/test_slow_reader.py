"""Devices that stop reading, or break off in the middle, on real sockets."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.serving import Peer, nothing_left, serving, settle
from trio_push.push import Push, State
from trio_push.server import Server

COUNT = 200


def pushes(token: str, numbers: Iterable[int], size: int = 1000) -> Iterator[Push]:
    for n in numbers:
        payload = b"%d" % n
        yield Push(str(n), token, payload.ljust(size), expires_at=time.time() + 3600)


def numbers(events: Iterable[object]) -> list[int]:
    return [int(event.data) for event in events]  # type: ignore[attr-defined]


async def take(peer: Peer, count: int) -> list[int]:
    return numbers([await peer.event() for _ in range(count)])


async def cut(server: Server, clock: MockClock, *tokens: str) -> None:
    """Let time pass until they are cut; now and then the kernel takes a little more for them."""
    for _ in range(100):
        if not any(map(server.node.directory.get, tokens)):
            return
        clock.jump(2.5)
        await wait_all_tasks_blocked(0.01)
    raise AssertionError("they are still there")


def counts(server: Server) -> dict[State, int]:
    return dict(zip(State, server.node.ledger.counts, strict=True))


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
async def test_a_device_that_stops_reading_is_cut_and_loses_nothing(
    mock_clock: MockClock, over_tls: bool, tls: dict[str, Any], trust: ssl.SSLContext
) -> None:
    """The others do not notice; what it has not got it gets when it returns, once, in order."""
    how = trust if over_tls else None
    async with (
        serving(small_buffers=True, mailbox_capacity=8, write_timeout_s=10, **tls) as server,
        Peer.connected(server) as other,
    ):
        await other.listen("bb")
        async with Peer.connected(server, small_buffers=True, trust=how) as stalled:
            await stalled.listen("aa")
            for n in range(COUNT):
                both = [*pushes("aa", [n]), *pushes("bb", [n])]
                await server.node.push_channel.submit(both)
            assert await take(other, COUNT) == list(range(COUNT))
            await wait_all_tasks_blocked(0.01)
            waiting = counts(server)
            assert waiting[State.IN_FLIGHT] == 1
            assert waiting[State.QUEUED] + waiting[State.STORED] > 100
            await cut(server, mock_clock, "aa")
            first = numbers(await stalled.events(may_be_reset=over_tls))
        await server.node.push_channel.submit(list(pushes("aa", [COUNT])))
        async with Peer.connected(server) as returned:
            await returned.listen("aa")
            rest = await take(returned, COUNT + 1 - len(first))
        assert first
        assert first + rest == list(range(COUNT + 1))
        assert server.node.router.delivery.dismissed["too_slow"] == 1


@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "tls"])
async def test_a_device_that_reads_slowly_is_kept(
    mock_clock: MockClock, over_tls: bool, tls: dict[str, Any], trust: ssl.SSLContext
) -> None:
    how = trust if over_tls else None
    async with (
        serving(small_buffers=True, mailbox_capacity=8, write_timeout_s=10, **tls) as server,
        Peer.connected(server, small_buffers=True, trust=how) as slow,
    ):
        await slow.listen("aa")
        await server.node.push_channel.submit(list(pushes("aa", range(COUNT))))
        read = []
        for _ in range(10):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(9)
            read += await take(slow, COUNT // 10)
        assert read == list(range(COUNT))
        assert server.node.router.delivery.dismissed["too_slow"] == 0


async def test_the_newer_connection_of_a_stalled_device_gets_what_waits() -> None:
    async with (
        serving(small_buffers=True) as server,
        Peer.connected(server, small_buffers=True) as stalled,
        Peer.connected(server) as newer,
    ):
        await stalled.listen("aa")
        await server.node.push_channel.submit(list(pushes("aa", range(COUNT))))
        await newer.listen("aa")
        first = numbers(await stalled.events())
        rest = await take(newer, COUNT - len(first))
        assert first + rest == list(range(COUNT))


async def test_reset_in_the_middle_of_an_event() -> None:
    """An event longer than what the kernel takes: it was never whole, so it comes again."""
    async with serving(small_buffers=True) as server:
        [long] = pushes("aa", [7], size=500_000)
        async with Peer.connected(server, small_buffers=True) as peer:
            await peer.listen("aa")
            assert await server.node.push_channel.submit([long]) == [State.IN_FLIGHT]
            assert await peer.receive()
            peer.reset()
        await settle(lambda: nothing_left(server))
        assert counts(server)[State.STORED] == 1
        async with Peer.connected(server) as peer:
            await peer.listen("aa")
            assert (await peer.event()).data.encode() == long.payload


async def test_resets_under_fire() -> None:
    """A device comes, reads a little and resets, over and over, while it is pushed to.

    Of what was in the kernel at a reset nobody can say whether it was read. Nothing comes
    twice, nothing out of order, and what was not given to the kernel comes in the end.
    """
    chance = random.Random(1)
    read: list[int] = []
    async with serving(small_buffers=True, store_per_token=10_000) as server:

        async def push_on() -> None:
            for n in range(2000):
                await server.node.push_channel.submit(list(pushes("aa", [n], size=300)))
                if n % 20 == 0:
                    await trio.sleep(0.001)

        async def come_and_go(peer: Peer) -> None:
            await peer.listen("aa")
            with trio.move_on_after(chance.random() * 0.01), suppress(trio.BrokenResourceError):
                while True:
                    read.extend(await take(peer, 1))
            peer.reset()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push_on)
            await trio.lowlevel.checkpoint()
            while nursery.child_tasks:
                async with Peer.connected(server) as peer:
                    await come_and_go(peer)
        await settle(lambda: nothing_left(server))
        left = counts(server)[State.STORED]
        async with Peer.connected(server) as peer:
            await peer.listen("aa")
            read += await take(peer, left)
        assert read == sorted(set(read))
        now = counts(server)
        assert sum(now.values()) == now[State.DELIVERED_LIVE] + now[State.DELIVERED_ON_CONNECT]
        assert len(read) > left


async def test_broadcast_among_slow_devices(mock_clock: MockClock) -> None:
    async with serving(small_buffers=True, write_timeout_s=10) as server:
        async with (
            Peer.connected(server, small_buffers=True) as first,
            Peer.connected(server, small_buffers=True) as second,
            Peer.connected(server) as quick,
        ):
            for token, peer in (("aa", first), ("bb", second), ("cc", quick)):
                await peer.listen(token)
            for n in range(40):
                [push] = pushes("", [n])
                await server.node.router.broadcast(push)
            assert await take(quick, 40) == list(range(40))
            assert counts(server)[State.IN_FLIGHT] == 2
            await cut(server, mock_clock, "aa", "bb")
            read = {"aa": numbers(await first.events()), "bb": numbers(await second.events())}
        for token, before in read.items():
            async with Peer.connected(server) as peer:
                await peer.listen(token)
                assert before + await take(peer, 40 - len(before)) == list(range(40))
