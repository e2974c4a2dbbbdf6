"""Churn and storms, by the mock clock and devices of cardboard."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.swarm.test_keep_connected import population
from trio_push.swarm.population import Population
from trio_push.swarm.unrest import Unrest, stir


class CardboardDevice:
    """Notes when it was told to leave."""

    received = 0
    retry_s = 0.0

    def __init__(self, index: int, *, is_there: bool = True) -> None:
        self.index = index
        self.is_there = is_there
        self.left: list[tuple[float, bool]] = []

    async def connect(self) -> None: ...

    def read(self) -> bool:
        return True

    async def wait(self) -> None: ...

    async def close(self) -> None: ...

    def leave(self, *, suddenly: bool = False) -> bool:
        self.left.append((trio.current_time(), suddenly))
        return self.is_there


async def stirred(unrest: Unrest, for_s: float) -> tuple[list[CardboardDevice], Population]:
    devices = [CardboardDevice(index) for index in range(200)]
    people = population()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stir, unrest, devices, people, random.Random(1))
        await trio.sleep(for_s)
        nursery.cancel_scope.cancel()
    return devices, people


async def test_peace(autojump_clock: trio.testing.MockClock) -> None:
    devices, _ = await stirred(Unrest(), 100)
    assert not any(device.left for device in devices)


async def test_churn(autojump_clock: trio.testing.MockClock) -> None:
    devices, people = await stirred(Unrest(churn_per_s=10), 100)
    left = [time for device in devices for time in device.left]
    assert len(left) == pytest.approx(1000, rel=0.1)
    assert not any(suddenly for _, suddenly in left)
    assert sum(bool(device.left) for device in devices) > 190
    assert people.connections.dropped == 0


@pytest.mark.parametrize(("share", "struck"), [(1.0, 200), (0.25, 50), (0.0, 0)])
async def test_storm(autojump_clock: trio.testing.MockClock, share: float, struck: int) -> None:
    devices, people = await stirred(Unrest(storm_s=5, storm_share=share), 100)
    left = [device.left for device in devices if device.left]
    assert left == [[(5, True)]] * struck
    assert people.connections.dropped == struck


async def test_sleepers_sleep_and_wake(autojump_clock: trio.testing.MockClock) -> None:
    unrest = Unrest(sleepers=0.5, asleep_s=10, awake_s=40)
    devices, people = await stirred(unrest, 1000)
    left = [[at for at, _ in device.left] for device in devices if device.left]
    assert len(left) == 100
    assert not any(suddenly for device in devices for _, suddenly in device.left)
    # from falling asleep to falling asleep it takes both, from half to one and a half of each
    turns = [after - before for times in left for before, after in pairwise(times)]
    assert 25 <= min(turns) < 30 < 70 < max(turns) <= 75
    assert people.connections.sleeps == sum(map(len, left)) == pytest.approx(2000, rel=0.1)
    assert max(times[0] for times in left) <= 40
    asleep = sum(index in people.sleep for index in range(200))
    assert people.connections.asleep == asleep
    assert asleep == pytest.approx(20, abs=12)
    people.sleep.wake_all()
    assert not any(index in people.sleep for index in range(200))
    assert people.connections.asleep == 0


async def test_who_is_away_already_is_not_put_to_sleep(
    autojump_clock: trio.testing.MockClock,
) -> None:
    devices = [CardboardDevice(index, is_there=False) for index in range(10)]
    people = population()
    with trio.move_on_after(100):
        await stir(Unrest(sleepers=1), devices, people, random.Random(1))
    assert all(device.left for device in devices)
    assert people.connections.sleeps == 0


async def test_who_is_back_after_a_storm(autojump_clock: trio.testing.MockClock) -> None:
    """Those who leave for other reasons are not."""
    people = population()
    people.connected(7, 0.1, again=True)
    people.struck(2)
    people.struck(3)
    for index in (7, 2, 8, 3, 2):
        await trio.sleep(4)
        people.connected(index, 0.1, again=True)
    connections = people.connections
    assert (connections.dropped, connections.back, connections.reconnects) == (2, 2, 6)
    assert connections.back_after.max_s == 16
    assert connections.back_after.percentile_s(0.5) == pytest.approx(8, rel=0.01)


async def test_a_storm_does_not_drop_who_is_away(autojump_clock: trio.testing.MockClock) -> None:
    devices = [CardboardDevice(index, is_there=index % 4 > 0) for index in range(100)]
    people = population()
    with trio.move_on_after(10):
        await stir(Unrest(storm_s=5), devices, people, random.Random(1))
    assert people.connections.dropped == 75


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.1, 10), (0.33, 33), (1.0, 100)])
async def test_slow_readers_are_spread_evenly(share: float, expected: int) -> None:
    people = population()
    people.slow_readers = share
    slow = [people.reads_slowly(index) for index in range(100)]
    assert sum(slow) == expected
    assert sum(slow[:50]) == pytest.approx(expected / 2, abs=1)
