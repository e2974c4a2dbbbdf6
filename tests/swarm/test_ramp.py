from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from trio_push.swarm.ramp import planned_times_s, ramp


def test_each_device_has_a_moment_in_its_own_slot() -> None:
    times = list(planned_times_s(1000, 50, random.Random(7)))
    assert all(i / 50 <= at < (i + 1) / 50 for i, at in enumerate(times))
    assert len({at * 50 % 1 for at in times}) > 900
    assert times == list(planned_times_s(1000, 50, random.Random(7)))


async def test_starts_devices_at_their_times(autojump_clock: trio.testing.MockClock) -> None:
    started: list[tuple[float, int]] = []
    await ramp(lambda i: started.append((trio.current_time(), i)), 20, 10, random.Random(1))
    planned = planned_times_s(20, 10, random.Random(1))
    assert [at for at, _ in started] == pytest.approx(list(planned))
    assert [i for _, i in started] == list(range(20))


async def test_gives_others_a_turn_when_it_is_behind() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await ramp(lambda i: None, 1000, 1e12, random.Random(1))
        nursery.cancel_scope.cancel()
    assert turns >= 10
