from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import FakeDevice, push
from trio_push.devices.heartbeat import TICK_S, Heartbeat
from trio_push.node import Node

KEEPALIVE = b": keepalive\n\n"


class Timed(FakeDevice):
    """Notes when it is written to."""

    def __init__(self, token: str = "aa", room: int | None = None) -> None:
        super().__init__(token, room)
        self.times: list[float] = []

    def send(self, data: bytes) -> int:
        self.times.append(trio.current_time())
        return super().send(data)


@pytest.fixture
async def heartbeat(node: Node, nursery: trio.Nursery) -> Heartbeat:
    heartbeat = Heartbeat(node.router.delivery, 30)
    nursery.start_soon(heartbeat.run)
    return heartbeat


def attach(node: Node, heartbeat: Heartbeat, device: Timed) -> Timed:
    node.router.attach(device)
    heartbeat.add(device)
    return device


async def test_a_comment_every_interval_from_the_time_of_connecting(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    await trio.sleep(7 * TICK_S)
    device = attach(node, heartbeat, Timed())
    await trio.sleep(100)
    assert device.taken == KEEPALIVE * 3
    assert device.times == [7 * TICK_S + n for n in (30, 60, 90)]


async def test_many_devices_each_at_its_time(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    devices = [attach(node, heartbeat, Timed(f"{n:04x}")) for n in range(500)]
    await trio.sleep(1)
    devices += [attach(node, heartbeat, Timed(f"{n:04x}")) for n in range(500, 1000)]
    await trio.sleep(70)
    assert [device.times for device in devices] == [[30, 60]] * 500 + [[31, 61]] * 500


async def test_who_is_due_within_a_thirtieth_of_the_interval_is_written_to_in_one_go(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    devices = []
    for n in range(8):
        devices.append(attach(node, heartbeat, Timed(f"{n:04x}")))
        await trio.sleep(0.125)
    await trio.sleep(31)
    assert [device.times for device in devices] == [[30], *[[31]] * 7]
    await trio.sleep(60)
    # the round keeps the spread of the arrivals: nobody is later and later
    assert all(device.times[-1] - device.times[0] <= 60 for device in devices)


async def test_a_device_that_is_gone_is_noticed(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    device = attach(node, heartbeat, Timed())
    device.gone = True
    await trio.sleep(31)
    assert device.closed
    assert len(node.directory) == 0
    assert len(heartbeat._round) == 1
    await trio.sleep(30)
    assert len(heartbeat._round) == 0


async def test_a_stalled_device_is_cut_after_the_write_timeout(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    device = attach(node, heartbeat, Timed(room=5))
    await trio.sleep(39)
    assert not device.closed
    await trio.sleep(2)
    assert device.closed
    assert node.router.delivery.dismissed["too_slow"] == 1


async def test_what_waits_is_not_interrupted(
    autojump_clock: MockClock, node: Node, heartbeat: Heartbeat
) -> None:
    """A comment in the middle of an event would end it."""
    device = attach(node, heartbeat, Timed(room=10))
    await trio.sleep(25)
    await node.push_channel.submit([push(b"one")])
    await trio.sleep(7)
    device.make_room(None)
    await trio.sleep(1)
    assert device.events == [b"one"]
    assert KEEPALIVE not in device.taken


async def test_none_when_turned_off(autojump_clock: MockClock, node: Node) -> None:
    heartbeat = Heartbeat(node.router.delivery, 0)
    heartbeat.add(Timed())
    assert len(heartbeat._round) == 0
