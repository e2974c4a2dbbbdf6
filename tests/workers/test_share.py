from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_push.workers import share as module
from trio_push.workers.scoreboard import Column, Scoreboard
from trio_push.workers.share import (
    FULL_S,
    HEAD_START_S,
    REST_S,
    STALE_S,
    Load,
    Share,
    holds_back,
    leaves_alone,
)


@pytest.mark.parametrize(
    ("own", "others", "held_back"),
    [
        (0, [], False),
        (1000, [], False),
        (4, [0, 0], False),
        (7, [0, 0], True),
        (1000, [1000, 1000], False),
        (1010, [1000, 1000], False),
        (1030, [1000, 1000], True),
        (990, [1000, 1000], False),
    ],
)
def test_who_has_more_than_its_share_holds_back(
    own: int, others: list[int], held_back: bool
) -> None:
    loads = [Load(each, 5000) for each in others]
    assert holds_back(Load(own, 5000), loads) is held_back


def test_who_is_full_is_not_waited_for() -> None:
    assert not holds_back(Load(100, 1000), [Load(10, 10)])
    assert holds_back(Load(100, 1000), [Load(10, 10), Load(20, 1000)])


@pytest.mark.parametrize(
    ("own", "others", "left"),
    [
        (Load(9, 10), [Load(0, 10)], False),
        (Load(10, 10), [Load(0, 10)], True),
        (Load(10, 10), [Load(10, 10), Load(9, 10)], True),
        # all are full: somebody has to say so to who comes
        (Load(10, 10), [Load(10, 10), Load(11, 10)], False),
        (Load(10, 10), [], False),
    ],
)
def test_who_is_full_leaves_the_sockets_alone(own: Load, others: list[Load], left: bool) -> None:
    assert leaves_alone(own, others) is left


class Two:
    """Two workers that share; the counts can be set."""

    def __init__(self) -> None:
        self.board, fd = Scoreboard.create(3)
        os.close(fd)
        self.counts = [0, 0]
        self.shares = [Share(self.board, number) for number in (1, 2)]
        for row in self.board.rows[1:]:
            row[Column.TAKEN] = 1

    def count(self, i: int) -> Callable[[], int]:
        return lambda: self.counts[i]

    def begin(self, capacity: int = 100) -> None:
        for i, share in enumerate(self.shares):
            share.prepare(self.count(i), capacity)
            share.begin()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    monkeypatch.setattr(module, "_now_ms", lambda: int(1000 * trio.current_time()))
    return Two()


async def waited_s(share: Share) -> float:
    start = trio.current_time()
    await share.wait()
    return trio.current_time() - start


async def test_nobody_accepts_before_the_parent_says_so(two: Two) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(two.shares[0].wait)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        two.begin()


async def test_the_one_with_more_gives_the_other_a_head_start(
    two: Two, autojump_clock: MockClock
) -> None:
    two.counts = [50, 10]
    two.begin()
    assert await waited_s(two.shares[0]) == HEAD_START_S
    assert await waited_s(two.shares[1]) == 0


async def test_who_came_for_nothing_rests_longer_the_more_there_are(
    two: Two, autojump_clock: MockClock
) -> None:
    two.shares[0].prepare(two.count(0), 100)
    await two.shares[0].rest()
    assert trio.current_time() == REST_S
    two.begin()
    await two.shares[0].rest()
    assert trio.current_time() == pytest.approx(3 * REST_S)


async def test_a_full_one_waits_until_the_other_is_full_too(
    two: Two, autojump_clock: MockClock
) -> None:
    two.counts = [100, 99]
    two.begin()

    async def fill() -> None:
        await trio.sleep(10 * FULL_S + 0.01)
        two.counts[1] = 100
        two.shares[1].beat()

    async def beat() -> None:
        while True:
            await trio.sleep(0.25)
            two.shares[1].beat()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        nursery.start_soon(beat)
        assert await waited_s(two.shares[0]) == pytest.approx(11 * FULL_S)
        nursery.cancel_scope.cancel()


async def test_one_that_stands_still_is_not_waited_for(two: Two, autojump_clock: MockClock) -> None:
    two.counts = [100, 0]
    two.begin()
    assert await waited_s(two.shares[0]) == pytest.approx(STALE_S, abs=2 * FULL_S)
    assert await waited_s(two.shares[0]) == 0
