"""Held pushes: exact times under a mock clock, timers that can be recalled, many at once."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.fakes import T0, FakeDevice, push
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.router import delay


class Timed(FakeDevice):
    """Notes when each push arrives, in seconds since the test's first moment."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._wall = node.clock.wall
        self.times: list[float] = []
        node.router.attach(self)

    def send(self, data: bytes) -> int:
        self.times.append(round(self._wall() - T0, 6))
        return super().send(data)


def held(payload: bytes = b"x", after: float = 5, **more: object) -> Push:
    return push(payload, not_before=T0 + after, **more)


@pytest.mark.parametrize("after", [0.25, 1, 1.999, 5, 59.5, 60, 61.25, 3599.5])
async def test_delivered_when_due(autojump_clock: MockClock, node: Node, after: float) -> None:
    device = Timed(node)
    assert await node.push_channel.submit([held(after=after, ttl_s=7200)]) == [State.DELAYED]
    await trio.sleep(after + 1)
    assert device.times == [after]
    assert node.ledger.counts[State.DELIVERED_LIVE] == 1


@pytest.mark.parametrize("step_s", [0.0, 1e-6])
async def test_in_order_of_falling_due(
    autojump_clock: MockClock, node: Node, step_s: float
) -> None:
    """Timers that fire together run in any order; the pushes of a token keep theirs."""
    due = [5 + step_s * (n % 5) for n in range(40)]
    order = sorted(range(40), key=due.__getitem__)
    device = Timed(node)
    await node.push_channel.submit([held(b"%d" % n, after=at) for n, at in enumerate(due)])
    node.router.recall("3")
    order.remove(3)
    await trio.sleep(6)
    assert device.events == [b"%d" % n for n in order]


async def test_past_time_is_now(autojump_clock: MockClock, node: Node) -> None:
    await trio.sleep(10)
    device = Timed(node)
    await node.push_channel.submit([held(after=5)])
    assert device.times == [10]


async def test_due_without_device_is_stored(autojump_clock: MockClock, node: Node) -> None:
    await node.push_channel.submit([held()])
    await trio.sleep(6)
    assert node.ledger.counts[State.STORED] == 1
    assert Timed(node).times == [6]


@pytest.mark.parametrize("at", [0, 3, 4.999])
async def test_recalled_before_due(autojump_clock: MockClock, node: Node, at: float) -> None:
    device = Timed(node)
    await node.push_channel.submit([held(id="r")])
    await trio.sleep(at)
    assert node.router.recall("r") == 1
    await trio.sleep(10)
    assert device.times == []
    assert node.ledger.counts[State.RECALLED] == 1


async def test_recall_in_the_very_moment(autojump_clock: MockClock, node: Node) -> None:
    """The timer has fired but its task has not run yet: the recall counts."""
    device = Timed(node)
    await node.push_channel.submit([held(id="r", after=1)])
    await trio.sleep(1)  # this task and the timer wake in the same turn, in either order
    recalled = node.router.recall("r")
    await trio.sleep(1)
    assert len(device.times) + recalled == 1


async def test_replaced_by_collapse_id(autojump_clock: MockClock, node: Node) -> None:
    device = Timed(node)
    await node.push_channel.submit([held(b"old", after=5, collapse_id="c")])
    await node.push_channel.submit([held(b"new", after=3, collapse_id="c")])
    await trio.sleep(10)
    assert (device.times, device.events) == ([3], [b"new"])
    assert node.ledger.counts[State.COALESCED] == 1


async def test_replaced_by_a_push_that_is_not_held(autojump_clock: MockClock, node: Node) -> None:
    device = Timed(node)
    await node.push_channel.submit([held(b"old", after=5, collapse_id="c")])
    await node.push_channel.submit([push(b"new", collapse_id="c")])
    await trio.sleep(10)
    assert (device.times, device.events) == ([0], [b"new"])


async def test_expires_while_it_waits(autojump_clock: MockClock, node: Node) -> None:
    device = Timed(node)
    await node.push_channel.submit([held(after=50, ttl_s=20)])
    await trio.sleep(22)
    assert node.ledger.counts[State.EXPIRED] == 1
    await trio.sleep(60)
    assert device.times == []


async def test_expired_at_the_moment_it_is_due(autojump_clock: MockClock, node: Node) -> None:
    await node.push_channel.submit([held(after=5, ttl_s=5)])
    await trio.sleep(6)
    assert node.ledger.counts[State.EXPIRED] == 1


async def test_only_those_due_soon_have_a_task(autojump_clock: MockClock, node: Node) -> None:
    await node.push_channel.submit([held(b"%d" % n, after=n, ttl_s=9999) for n in range(1, 301)])
    await trio.sleep(2)
    tasks = trio.lowlevel.current_statistics().tasks_living
    assert 55 < tasks < 75
    await trio.sleep(400)
    assert node.ledger.counts[State.DELAYED] == 0


@pytest.mark.parametrize("spread_s", [0.0, 0.5, 30.0])
async def test_more_than_there_are_timers(
    autojump_clock: MockClock, node: Node, monkeypatch: pytest.MonkeyPatch, spread_s: float
) -> None:
    monkeypatch.setattr(delay, "MAX_TIMERS", 10)
    device = Timed(node)
    due = [10 + spread_s * n / 500 for n in range(500)]
    await node.push_channel.submit([held(b"%d" % n, after=at) for n, at in enumerate(due)])
    await trio.sleep(60)
    assert len(device.times) == 500
    lateness = [at - planned for at, planned in zip(sorted(device.times), due, strict=True)]
    assert min(lateness) >= -1e-5
    assert max(lateness) <= 1e-5
    assert trio.lowlevel.current_statistics().tasks_living < 20


async def test_wall_clock_set_back_delays_and_does_not_hasten(
    autojump_clock: MockClock, node: Node
) -> None:
    device = Timed(node)
    await node.push_channel.submit([held(after=5)])
    await trio.sleep(2)
    wall = node.clock.wall
    node.clock.wall = lambda: wall() - 100
    await trio.sleep(50)
    assert device.times == []
    await trio.sleep(60)
    assert device.times == [105]
