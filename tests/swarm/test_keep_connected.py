"""The life of a device, told by a device of cardboard and the mock clock."""

from __future__ import annotations

import math
from collections import deque

import pytest
import trio
import trio.testing

from trio_push.swarm.audit import Audit
from trio_push.swarm.device import ConnectFailed, keep_connected
from trio_push.swarm.population import Destination, Population
from trio_push.swarm.stamp import Stamp, Stamper
from trio_push.swarm.target import Target


class Attempt:
    """What becomes of one attempt: it fails, hangs, or gives a stream that lives so long."""

    def __init__(
        self,
        *,
        fails: str = "",
        takes_s: float = 0.0,
        lives_s: float = 0.0,
        events: int = 0,
        retry_s: float = 0.0,
    ) -> None:
        self.fails = fails
        self.takes_s = takes_s
        self.lives_s = lives_s
        self.events = events
        self.retry_s = retry_s


class CardboardDevice:
    """Does as its attempts say, then stays connected; notes when each attempt began."""

    def __init__(self, *attempts: Attempt) -> None:
        self.index = 0
        self.received = 0
        self.retry_s = 0.0
        self.began_at: list[float] = []
        self.closed = 0
        self._attempts = deque(attempts)
        self._now = Attempt()
        self._over = False

    async def connect(self) -> None:
        self.began_at.append(trio.current_time())
        self._now = self._attempts.popleft() if self._attempts else Attempt(lives_s=math.inf)
        await trio.sleep(self._now.takes_s)
        if self._now.fails:
            raise ConnectFailed(self._now.fails)
        self.received = self._now.events
        self._over = False

    def read(self) -> bool:
        return not self._over

    async def wait(self) -> None:
        await trio.sleep(self._now.lives_s)
        self.retry_s = self._now.retry_s
        self._over = True

    def leave(self, *, suddenly: bool = False) -> bool:
        raise AssertionError("nobody asked it to")

    async def close(self) -> None:
        self.closed += 1


def population(jitter: float = 0.0, *, ack: bool = False) -> Population:
    target = Target("http", "127.0.0.1", 1, "", trio.socket.AF_INET, ("127.0.0.1", 1))
    destination = Destination(
        target=target, tokens=["t"], path="{token}", connect_timeout_s=10, ack=ack
    )
    result = Population(destination, Audit(1), Stamper("run"), seed=0, wall_offset_s=0)
    result.random.random = lambda: jitter  # type: ignore[method-assign]
    return result


async def live(device: CardboardDevice, jitter: float = 0.0, for_s: float = 200) -> Population:
    people = population(jitter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_connected, device, people)
        await trio.sleep(for_s)
        nursery.cancel_scope.cancel()
    return people


async def test_backs_off_while_it_fails(autojump_clock: trio.testing.MockClock) -> None:
    device = CardboardDevice(*[Attempt(fails="connection refused")] * 7)
    people = await live(device, for_s=90)
    assert device.began_at == [0, 1, 3, 7, 15, 31, 61]
    assert people.connections.failures == {"connection refused": 7}
    assert people.connections.ever == 0
    await people.wait_all_tried()


async def test_jitter_is_added(autojump_clock: trio.testing.MockClock) -> None:
    device = CardboardDevice(*[Attempt(fails="x")] * 3)
    await live(device, jitter=0.5)
    assert device.began_at == [0, 1.25, 3.75, 8.75]


async def test_healthy_stream_starts_over(autojump_clock: trio.testing.MockClock) -> None:
    device = CardboardDevice(
        Attempt(fails="x"),
        Attempt(fails="x"),
        Attempt(lives_s=2, events=1),
        Attempt(fails="x"),
        Attempt(lives_s=30),
        Attempt(lives_s=29),
        Attempt(lives_s=1),
    )
    people = await live(device)
    assert device.began_at == [0, 1, 3, 6, 8, 39, 70, 75]
    assert (people.connections.ever, people.connections.reconnects) == (1, 4)
    assert (people.connections.peak, device.closed) == (1, 5)


async def test_retry_is_the_least_wait_from_then_on(autojump_clock: trio.testing.MockClock) -> None:
    device = CardboardDevice(
        Attempt(events=1, retry_s=5), Attempt(fails="x"), Attempt(fails="x"), Attempt(fails="x")
    )
    await live(device)
    assert device.began_at == [0, 5, 10, 15, 23]


async def test_connecting_may_not_take_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    device = CardboardDevice(Attempt(takes_s=9, events=1), Attempt(takes_s=60))
    people = await live(device, for_s=30)
    assert device.began_at == [0, 10, 22]
    assert people.connections.failures == {"timed out": 1}
    assert people.connections.connect.max_s == 9


async def test_asleep_until_woken(autojump_clock: trio.testing.MockClock) -> None:
    """Then it is there at once, unless the server has told it to stay away."""
    device = CardboardDevice(Attempt(lives_s=2), Attempt(lives_s=2, retry_s=math.inf))
    people = population()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_connected, device, people)
        await trio.sleep(1)
        people.sleep.put(0)
        await trio.sleep(99)
        assert 0 in people.sleep
        people.sleep.wake(0)
        await trio.sleep(1)
        people.sleep.put(0)
        await trio.sleep(99)
        people.sleep.wake_all()
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()
    assert device.began_at == [0, 100]
    assert people.connections.sleeps == 2


async def test_latency_counts_from_waking(autojump_clock: trio.testing.MockClock) -> None:
    people = population()
    people.sleep.put(0)
    for _ in range(2):
        people.audit.plan(0)
        people.audit.accept()
    await trio.sleep(10)
    people.sleep.wake(0)
    await trio.sleep(1)
    now = trio.current_time()
    for n, at in ((1, now - 11), (2, now - 0.5)):
        people.received(0, Stamper("run").payload(Stamp(0, n, at)).decode())
    deliveries = people.audit.deliveries
    assert (deliveries.distinct, deliveries.slept_through, deliveries.late) == (2, 1, 0)
    assert people.audit.latency.max_s == pytest.approx(1)


async def test_cancelled_while_connected() -> None:
    device = CardboardDevice(Attempt(lives_s=1000))
    people = population()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_connected, device, people)
        await trio.testing.wait_all_tasks_blocked()
        assert people.connections.now == 1
        nursery.cancel_scope.cancel()
    assert (people.connections.now, device.closed) == (0, 1)
