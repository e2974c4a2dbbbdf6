"""The collector is told what to do, by a population that the test makes up."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_push.watch import garbage
from trio_push.watch.garbage import INTERVAL_S, QUIET_S, SETTLED_S, STEP, keep_frozen


class Collector:
    """Notes what `gc` is asked for."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def set_threshold(self, *thresholds: int) -> None:
        assert thresholds == garbage.THRESHOLDS

    def unfreeze(self) -> None:
        self.done.append("unfreeze")

    def collect(self) -> None:
        self.done.append("collect")

    def freeze(self) -> None:
        self.done.append("freeze")


class Population:
    def __init__(self) -> None:
        self.now = 0

    async def become(self, now: int) -> None:
        self.now = now
        await trio.sleep(2 * QUIET_S)


LOOK_THROUGH = ["unfreeze", "collect", "freeze"]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Collector:
    collector = Collector()
    monkeypatch.setattr(garbage, "gc", collector)
    return collector


@pytest.fixture
async def population(collector: Collector, nursery: trio.Nursery) -> Population:
    """Nobody yet, and looked through at the start."""
    population = Population()
    nursery.start_soon(keep_frozen, lambda: population.now)
    await trio.sleep(INTERVAL_S)
    assert collector.done == LOOK_THROUGH[1:]
    collector.done.clear()
    return population


async def test_who_comes_is_frozen_without_a_look(
    autojump_clock: MockClock, collector: Collector, population: Population
) -> None:
    await population.become(STEP - 1)
    assert collector.done == []
    await population.become(STEP)
    await population.become(2 * STEP)
    assert collector.done == ["freeze"] * 2


async def test_a_storm_is_no_time_to_look_for_garbage(
    autojump_clock: MockClock, collector: Collector, population: Population
) -> None:
    """And those who come back are frozen like those who come first."""
    await population.become(10 * STEP)
    collector.done.clear()
    for _ in range(3):
        await population.become(STEP)
        await trio.sleep(SETTLED_S - 4 * QUIET_S)
        assert collector.done == []
        await population.become(10 * STEP)
        assert collector.done == ["freeze"]
        collector.done.clear()


async def test_when_half_have_gone_for_good_what_they_left_is_looked_through(
    autojump_clock: MockClock, collector: Collector, population: Population
) -> None:
    await population.become(10 * STEP)
    collector.done.clear()
    await population.become(5 * STEP)
    await trio.sleep(2 * SETTLED_S)
    assert collector.done == []
    await population.become(5 * STEP - 1)
    await trio.sleep(SETTLED_S)
    assert collector.done == LOOK_THROUGH
    await trio.sleep(2 * SETTLED_S)
    assert collector.done == LOOK_THROUGH
