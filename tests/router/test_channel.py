"""The push channel: written through while nothing waits, in order, everybody gets a turn."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakes import push
from trio_push.errors import Refusal
from trio_push.push import State
from trio_push.router.channel import CAPACITY, SLICE, PushChannel, Submission


class Router:
    """Settles at once, and remembers what it was given and in whose turn."""

    def __init__(self) -> None:
        self.routed: list[bytes] = []
        self.tasks: list[trio.lowlevel.Task] = []

    def route(self, submission: Submission) -> None:
        self.routed += [push.payload for push in submission.pushes]
        self.tasks.append(trio.lowlevel.current_task())
        submission.settle([State.STORED] * len(submission.pushes))


@pytest.fixture
def router() -> Router:
    return Router()


@pytest.fixture
async def channel(router: Router, nursery: trio.Nursery) -> PushChannel:
    channel = PushChannel()
    nursery.start_soon(channel.serve, router.route)
    await wait_all_tasks_blocked()
    return channel


async def test_written_through_while_nothing_waits(channel: PushChannel, router: Router) -> None:
    assert await channel.submit([push(b"1"), push(b"2")]) == [State.STORED] * 2
    assert router.routed == [b"1", b"2"]
    assert router.tasks == [trio.lowlevel.current_task()]


async def test_everybody_gets_a_turn(channel: PushChannel, router: Router) -> None:
    """A provider that submits without end does not hold up the others."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for n in range(10 * SLICE):
            await channel.submit([push(b"%d" % n)])
        nursery.cancel_scope.cancel()
    assert turns >= 10
    assert router.routed == [b"%d" % n for n in range(10 * SLICE)]


async def test_what_comes_while_others_wait_queues_behind_them(router: Router) -> None:
    channel = PushChannel()

    def route(submission: Submission) -> None:
        router.route(submission)
        if len(router.routed) == SLICE:
            nursery.start_soon(channel.submit, [push(b"late")])

    async with trio.open_nursery() as nursery:
        for _ in range(3 * SLICE):
            nursery.start_soon(channel.submit, [push(b"early")])
        await wait_all_tasks_blocked()
        nursery.start_soon(channel.serve, route)
        await wait_all_tasks_blocked()
        channel.close()
    assert router.routed == [b"early"] * (3 * SLICE) + [b"late"]


async def test_order_of_one_provider(channel: PushChannel, router: Router) -> None:
    async def provider(name: bytes) -> None:
        for n in range(300):
            await channel.submit([push(b"%b %03d %d" % (name, n, i)) for i in range(3)])

    async with trio.open_nursery() as nursery:
        for name in (b"a", b"b", b"c"):
            nursery.start_soon(provider, name)
    for name in (b"a", b"b", b"c"):
        own = [payload for payload in router.routed if payload.startswith(name)]
        assert len(own) == 900
        assert own == sorted(own)


async def test_a_provider_waits_for_room() -> None:
    channel, router = PushChannel(), Router()
    async with trio.open_nursery() as nursery:
        for n in range(CAPACITY + 1):
            nursery.start_soon(channel.submit, [push(b"%d" % n)])
        await wait_all_tasks_blocked()
        assert router.routed == []
        nursery.start_soon(channel.serve, router.route)
        await wait_all_tasks_blocked()
        channel.close()
    assert len(router.routed) == CAPACITY + 1


async def test_closed(channel: PushChannel, router: Router) -> None:
    channel.close()
    with pytest.raises(Refusal, match="shutting down"):
        await channel.submit([push()])
    assert router.routed == []


async def test_a_router_that_fails_harms_its_caller_only(nursery: trio.Nursery) -> None:
    def route(submission: Submission) -> None:
        if submission.pushes[0].payload == b"bad":
            raise ZeroDivisionError
        submission.settle([State.STORED])

    channel = PushChannel()
    nursery.start_soon(channel.serve, route)
    await wait_all_tasks_blocked()
    with pytest.raises(ZeroDivisionError):
        await channel.submit([push(b"bad")])
    assert await channel.submit([push(b"good")]) == [State.STORED]
