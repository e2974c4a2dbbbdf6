"""A claim that is late, or whose answer is: who has the device is the newest connection, still.

A node may give up a claim that what is shared has carried out, or will.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.engine.nodes import Nodes, OneNode, Way, until
from tests.fakes import FakeDevice, push
from trio_push.config import ServeSettings
from trio_push.engine.client import ANSWER_TIMEOUT_S
from trio_push.engine.contract import Shared
from trio_push.engine.memory import MemoryShared
from trio_push.errors import StoreFailed

SETTINGS = ServeSettings(mailbox_capacity=8, store_per_token=100)
#: seconds in which everything is tried again, and settled
REST_S = 20.0


class BadWay(Way):
    """`late_s` holds up what sets out now; answers may get lost."""

    def __init__(self, shared: Shared, nursery: trio.Nursery) -> None:
        super().__init__(shared)
        self._nursery = nursery
        self.late_s = 0.0
        self.loses_answers = False

    async def _call(self, call: Any, *args: Any, **options: Any) -> Any:
        late_s, is_answered, answers = self.late_s, trio.Event(), list[Any]()
        loses_answer = self.loses_answers

        async def arrive() -> None:
            await trio.sleep(late_s)
            answers.append(await call(*args, **options))
            if not loses_answer:
                is_answered.set()

        # It arrives, whether or not it is still waited for.
        self._nursery.start_soon(arrive)
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            await is_answered.wait()
            return answers[0]
        raise StoreFailed("it does not answer")


class World:
    """Two nodes on what they share, the first on a way that can be late."""

    def __init__(self, way: BadWay, nodes: Nodes, first: OneNode, second: OneNode) -> None:
        self.way = way
        self.nodes = nodes
        self.first = first
        self.second = second

    async def comes_to_rest(self) -> None:
        self.way.late_s, self.way.loses_answers = 0.0, False
        await trio.sleep(REST_S)

    async def is_the_only_one(self, device: FakeDevice, *older: FakeDevice) -> None:
        """The others are gone; what is pushed at either node comes to it, once."""
        assert [each.is_closed for each in older] == [True] * len(older)
        assert not device.is_closed
        for n, node in enumerate((self.first, self.second)):
            await node.submit(push(b"%d" % n))
        await until(lambda: set(device.events) >= {b"0", b"1"})
        assert sorted(device.events) == [b"0", b"1"]
        self.nodes.check()


@pytest.fixture
async def world(autojump_clock: MockClock, nursery: trio.Nursery) -> World:
    shared = MemoryShared()
    way = BadWay(shared, nursery)
    nodes = Nodes(shared, nursery)
    second = await nodes.start(SETTINGS)
    nodes.shared = way  # type: ignore[assignment]
    first = await nodes.start(SETTINGS)
    nodes.shared = shared
    await trio.sleep(REST_S)  # who is new looks at its tokens twice
    return World(way, nodes, first, second)


@pytest.mark.parametrize("late_s", [0.5, 2.0, 4.5])
async def test_a_claim_that_is_late_wins_over_who_came_meanwhile(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery, late_s: float
) -> None:
    """But not over who comes when it is there: no more than the time that it took is lost."""
    meanwhile, since = FakeDevice(), FakeDevice()

    async def come_later() -> None:
        await trio.sleep(late_s / 2)
        await world.second.let_in(meanwhile)

    nursery.start_soon(come_later)
    world.way.late_s = late_s
    device = await world.first.connect()
    await world.comes_to_rest()
    assert (device.is_closed, meanwhile.is_closed) == (False, True)
    await world.second.let_in(since)
    await world.comes_to_rest()
    await world.is_the_only_one(since, device, meanwhile)


async def test_a_claim_whose_answer_is_lost(autojump_clock: MockClock, world: World) -> None:
    older = await world.second.connect()
    await trio.sleep(1)
    world.way.loses_answers = True
    device = await world.first.connect()
    await world.comes_to_rest()
    await world.is_the_only_one(device, older)


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("late_s", [0.5, 2.0, 4.5, 7.0])
async def test_a_claim_that_was_given_up(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery, late_s: float, stays: bool
) -> None:
    """Carried out all the same, when somebody newer had the token: who keeps it."""
    newest = FakeDevice()

    async def come_later() -> None:
        await trio.sleep(late_s / 2)
        await world.second.let_in(newest)

    nursery.start_soon(come_later)
    world.way.late_s, world.way.loses_answers = late_s, True
    device = await world.first.connect()
    if not stays:
        world.first.disconnect(device)
    await world.comes_to_rest()
    await world.is_the_only_one(newest, device)
