from __future__ import annotations

import math
from itertools import pairwise

import pytest
import trio
import trio.testing

from trio_push.swarm.audit import Audit
from trio_push.swarm.driver import ANSWERS_S, LANE_CAPACITY, Driver
from trio_push.swarm.lane import Lane, Planned
from trio_push.swarm.stamp import Stamper

WALL_OFFSET_S = 1_700_000_000.0


class CardboardLane:
    """Takes a push, answers it after `answer_s` and takes the next."""

    def __init__(self, audit: Audit, *, answer_s: float = 0.0, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.taken: list[tuple[float, Planned]] = []
        self._audit = audit
        self._answer_s = answer_s

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        async for push in pushes:
            self.taken.append((trio.current_time(), push))
            try:
                await trio.sleep(self._answer_s)
            except trio.Cancelled:
                self._audit.leave_unanswered(push.to, push.n)
                raise
            self._audit.accept()


STAMPER = Stamper("run")


def driver(audit: Audit, *lanes: Lane, rate: float = 10, devices: int = 4, seed: int = 0) -> Driver:
    return Driver(
        lanes,
        [f"token{i}" for i in range(devices)],
        audit,
        STAMPER,
        rate=rate,
        seed=seed,
        wall_offset_s=WALL_OFFSET_S,
    )


async def test_each_push_has_its_time(autojump_clock: trio.testing.MockClock) -> None:
    audit = Audit(4)
    lane = CardboardLane(audit)
    await driver(audit, lane).run(duration_s=2.0)
    assert [at for at, _ in lane.taken] == pytest.approx([i / 10 for i in range(20)])
    assert trio.current_time() == pytest.approx(1.9)
    assert audit.pushes.accepted == audit.pushes.sent == 20


async def test_pushes_are_spread_evenly_and_numbered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    audit = Audit(4)
    lane = CardboardLane(audit)
    await driver(audit, lane).run(duration_s=2.0)
    for device in range(4):
        mine = [push for _, push in lane.taken if push.to == device]
        assert [push.n for push in mine] == [1, 2, 3, 4, 5]
        assert {push.token for push in mine} == {f"token{device}"}


async def test_the_seed_decides_the_order(autojump_clock: trio.testing.MockClock) -> None:
    async def order(seed: int) -> list[int]:
        audit = Audit(100)
        lane = CardboardLane(audit)
        await driver(audit, lane, devices=100, rate=100, seed=seed).run(1)
        return [push.to for _, push in lane.taken]

    first = await order(1)
    assert sorted(first) == list(range(100))
    assert first == await order(1) != await order(2)


async def test_stamps_carry_the_planned_time(autojump_clock: trio.testing.MockClock) -> None:
    """Also when the lane is slow, and with the delay that the server is asked for."""
    audit = Audit(4)
    slow = CardboardLane(audit, answer_s=1.0, delay_s=5.0)
    await driver(audit, slow).run(duration_s=0.5)
    stamps = [STAMPER.read(push.payload.decode()) for _, push in slow.taken]
    due = [stamp.at_epoch_s - WALL_OFFSET_S for stamp in stamps if stamp is not None]
    assert due == pytest.approx([5.0, 5.1, 5.2, 5.3, 5.4])
    assert [at for at, _ in slow.taken] == pytest.approx([0, 1, 2, 3, 4])


async def test_a_device_keeps_its_lane(autojump_clock: trio.testing.MockClock) -> None:
    audit = Audit(4)
    lanes = [CardboardLane(audit) for _ in range(3)]
    await driver(audit, *lanes).run(duration_s=4.0)
    devices = [{push.to for _, push in lane.taken} for lane in lanes]
    assert devices == [{0, 3}, {1}, {2}]


async def test_the_plan_does_not_wait_for_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    audit = Audit(4)
    await driver(audit, CardboardLane(audit, answer_s=3.0)).run(duration_s=2.0)
    assert trio.current_time() == pytest.approx(1.9 + ANSWERS_S)
    pushes = audit.pushes
    assert (pushes.planned, pushes.on_the_way) == (20, 0)
    assert (pushes.accepted, pushes.unanswered, pushes.unsent) == (3, 1, 16)


async def test_what_a_lane_cannot_hold_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    audit = Audit(4)
    stuck = CardboardLane(audit, answer_s=math.inf)
    await driver(audit, stuck, rate=20_000).run(duration_s=1.0)
    assert audit.pushes.planned == 20_000
    assert audit.pushes.unsent == 20_000 - 1
    assert audit.pushes.unanswered == 1
    assert LANE_CAPACITY < 20_000


async def test_stop(autojump_clock: trio.testing.MockClock) -> None:
    audit = Audit(4)
    lane = CardboardLane(audit, answer_s=0.05)
    subject = driver(audit, lane)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.run, math.inf)
        await trio.sleep(1.01)
        subject.stop()
    assert audit.pushes.accepted == audit.pushes.planned == 11
    assert trio.current_time() == pytest.approx(1.05)


async def test_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    audit = Audit(4)
    with trio.move_on_after(1.01):
        await driver(audit, CardboardLane(audit, answer_s=10)).run(math.inf)
    pushes = audit.pushes
    assert (pushes.planned, pushes.unanswered, pushes.unsent) == (11, 1, 10)


async def test_catches_up_when_it_is_behind(autojump_clock: trio.testing.MockClock) -> None:
    """As after a pause of the whole process: at once, and it says by how much it is late."""
    audit = Audit(4)
    lane = CardboardLane(audit)
    subject = driver(audit, lane, rate=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subject.run, 1.0)
        await trio.testing.wait_all_tasks_blocked()
        autojump_clock.jump(0.5)
    assert len(lane.taken) == 1000
    assert subject.behind.max_s == pytest.approx(0.499, abs=0.002)
    times = [at for at, _ in lane.taken]
    assert all(a <= b for a, b in pairwise(times))
