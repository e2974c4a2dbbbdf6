from __future__ import annotations

import math

import trio
import trio.testing

from trio_push.swarm.connections import Connections
from trio_push.swarm.sleep import Sleep


async def test_waits_until_woken(autojump_clock: trio.testing.MockClock) -> None:
    counts = Connections()
    sleep = Sleep(counts)
    sleep.put(3)
    sleep.put(4)
    assert (3 in sleep, 5 in sleep) == (True, False)
    assert (counts.sleeps, counts.asleep) == (2, 2)
    assert await sleep.wait(5) is False
    woken: list[tuple[int, float]] = []

    async def be(index: int) -> None:
        assert await sleep.wait(index) is True
        woken.append((index, trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(be, 3)
        nursery.start_soon(be, 4)
        await trio.sleep(5)
        sleep.wake(4)
        await trio.sleep(5)
        sleep.wake_all()
    assert woken == [(4, 5), (3, 10)]
    assert (sleep.woke_at(3), sleep.woke_at(4), sleep.woke_at(5)) == (10, 5, -math.inf)
    assert (counts.sleeps, counts.asleep) == (2, 0)


async def test_woken_before_it_noticed() -> None:
    sleep = Sleep(Connections())
    sleep.put(3)
    sleep.wake(3)
    assert await sleep.wait(3) is False
