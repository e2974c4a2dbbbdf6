"""Several devices of one token at several nodes, with nodes that are slow to hear of each other.

Under a clock that jumps, so that thousands of changes of place take no time: the newest
connection gets what is held, and nobody else does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.engine.nodes import Nodes, OneNode, Way, until
from tests.fakes import FakeDevice, push
from trio_push.config import ServeSettings
from trio_push.engine.contract import Shared
from trio_push.engine.memory import MemoryShared
from trio_push.push import State

SETTINGS = ServeSettings(mailbox_capacity=8, store_per_token=1000)
TOKENS = ("aa", "bb", "cc")
RIVALS = 4
#: seconds that pushes go on, and that everybody then has to come to rest
LOAD_S, REST_S = 20.0, 20.0


class LongWay(Way):
    """It takes a while, there and back."""

    def __init__(self, shared: Shared, chance: random.Random) -> None:
        super().__init__(shared)
        self._chance = chance

    async def _call(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        await trio.sleep(self._chance.uniform(0, 0.03))
        answer = await call(*args, **options)
        await trio.sleep(self._chance.uniform(0, 0.03))
        return answer


class Rivals:
    """Devices of some tokens that come and go, and what all of them have read."""

    def __init__(self, nodes: list[OneNode], chance: random.Random) -> None:
        self._nodes = nodes
        self._chance = chance
        self._seen: list[FakeDevice] = []

    async def come_and_go(self, token: str) -> None:
        while True:
            node = self._chance.choice(self._nodes)
            device = await node.connect(token)
            self._seen.append(device)
            await trio.sleep(self._chance.uniform(0, 0.5))
            if not device.is_closed:
                node.disconnect(device)
            await trio.sleep(self._chance.uniform(0, 0.2))

    async def come_to_stay(self) -> None:
        for token in TOKENS:
            self._seen.append(await self._chance.choice(self._nodes).connect(token))

    def read(self) -> Counter[bytes]:
        return Counter(event for device in self._seen for event in device.events)


async def push_on(node: OneNode, chance: random.Random, numbers: Iterator[int]) -> None:
    for n in numbers:
        states = await node.submit(push(b"%d" % n, chance.choice(TOKENS)))
        assert states[0] in (State.STORED, State.QUEUED, State.DELIVERED_LIVE)
        await trio.sleep(chance.uniform(0, 0.1))


@pytest.mark.parametrize("seed", range(20))
async def test_each_push_is_read_once(
    seed: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    chance = random.Random(seed)
    shared: Shared = LongWay(MemoryShared(), chance)  # type: ignore[assignment]
    nodes = Nodes(shared, nursery)
    some = [await nodes.start(SETTINGS) for _ in range(2 + seed % 2)]
    await until(lambda: all(len(node.engine.members.living) == len(some) for node in some))
    rivals = Rivals(some, chance)
    numbers = iter(range(1_000_000))
    async with trio.open_nursery() as load:
        for node in some:
            load.start_soon(push_on, node, chance, numbers)
        for token in TOKENS * RIVALS:
            load.start_soon(rivals.come_and_go, token)
        await trio.sleep(LOAD_S)
        load.cancel_scope.cancel()
    await trio.sleep(REST_S)
    await rivals.come_to_stay()
    await trio.sleep(REST_S)
    read = rivals.read()
    assert {n: times for n, times in read.items() if times > 1} == {}
    assert nodes.in_transit == await nodes.rows(*TOKENS) == 0
    nodes.check()
    assert len(read) > 100
    nursery.cancel_scope.cancel()
