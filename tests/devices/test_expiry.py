"""Devices that may stay until some time, and not longer."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.fakes import T0, FakeDevice
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.expiry import LOOK_S, SLICE, Expiry
from trio_push.node import Node


class Hall:
    """A node that devices come to, and what ends their stay."""

    def __init__(self) -> None:
        self.clock = Clock(lambda: T0 + trio.current_time())
        self.node = Node.make(ServeSettings(), self.clock)
        self.expiry = Expiry(self.node.router.delivery, self.clock)

    def enter(self, token: str, stay_s: float) -> FakeDevice:
        device = FakeDevice(token)
        self.node.router.attach(device)
        self.expiry.add(device, self.clock.wall() + stay_s)
        return device


@pytest.fixture
async def hall() -> Hall:
    return Hall()


async def test_nobody_leaves_before_their_time_or_long_after(
    hall: Hall, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(hall.expiry.run)
    devices = {
        stay_s: hall.enter(f"{i:02x}", stay_s)
        for i, stay_s in enumerate(
            (-5.0, 0.0, 5.5, 10.0, 20.3, 290.7, LOOK_S, 3 * LOOK_S + 0.25, 86_400.0)
        )
    }
    for stay_s, device in devices.items():
        if stay_s > 0:
            await trio.sleep_until(stay_s - 0.01)
            assert not device.closed
        await trio.sleep_until(max(0.0, stay_s) + 2.01)
        assert device.closed
        assert hall.node.directory.get(device.token) is None
    assert len(hall.expiry) == 0


async def test_whoever_came_again_stays_as_long_as_the_new_leave_says(
    hall: Hall, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(hall.expiry.run)
    older = hall.enter("aa", 10)
    newer = hall.enter("aa", 100)
    assert older.closed
    await trio.sleep(50)
    assert hall.node.directory.get("aa") is newer
    await trio.sleep(52)
    assert newer.closed


async def test_those_who_have_gone_are_forgotten(
    hall: Hall, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(hall.expiry.run)
    stays = hall.enter("bb", 86_400)
    for _ in range(1000):
        hall.node.router.delivery.disconnect(hall.enter("aa", 86_400))
        await trio.sleep(1)
    assert len(hall.expiry) <= LOOK_S + 2
    await trio.sleep(LOOK_S + 2)
    assert len(hall.expiry) == 1
    assert not stays.closed


async def test_a_crowd_that_leaves_lets_others_have_a_turn(
    hall: Hall, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    for i in range(5 * SLICE):
        hall.enter(f"{i:04x}", 10)
    left: list[int] = []

    async def watch() -> None:
        await trio.sleep_until(11.4)
        while len(hall.node.directory):
            left.append(len(hall.node.directory))
            await trio.lowlevel.checkpoint()

    nursery.start_soon(watch)
    await trio.sleep(10.4)
    nursery.start_soon(hall.expiry.run)
    await trio.sleep(2)
    assert len(hall.node.directory) == 0
    assert len(left) >= 3
