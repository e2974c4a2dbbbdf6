"""Faults on demand of pushes and devices, in the books and on the device."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import FakeDevice, push
from trio_push.faults import Match, Rule
from trio_push.faults.actions import (
    Action,
    DisconnectDevice,
    Duplicate,
    Lose,
    Reorder,
    SlowDevice,
)
from trio_push.faults.latency import Fixed
from trio_push.node import Node
from trio_push.push import Push, State


def connect(node: Node, token: str = "aa", room: int | None = None) -> FakeDevice:
    device = FakeDevice(token, room)
    node.router.attach(device)
    return device


def befall(node: Node, *actions: Action, first: int | None = None, token: str = "aa") -> None:
    match = Match(token_prefix=token, first=first)
    rules = [Rule(match=match, action=action) for action in actions]
    node.faults.add(rules, trio.current_time())


async def submit(node: Node, *pushes: Push) -> list[State]:
    return await node.push_channel.submit(pushes)


async def test_lost(autojump_clock: MockClock, node: Node) -> None:
    one, other = connect(node), connect(node, "bb")
    befall(node, Lose(), first=1)
    states = await submit(node, push(b"1"), push(b"2"), push(b"3", "bb"))
    assert states == [State.LOST_BY_FAULT, State.DELIVERED_LIVE, State.DELIVERED_LIVE]
    assert (one.events, other.events) == ([b"2"], [b"3"])
    assert node.ledger.faults == {("lose-1", "lose"): 1}


async def test_lost_while_the_device_is_away(autojump_clock: MockClock, node: Node) -> None:
    befall(node, Lose())
    assert await submit(node, push(b"1")) == [State.LOST_BY_FAULT]
    assert connect(node).events == []


@pytest.mark.parametrize("newest_wins", [False, True])
async def test_reordered(autojump_clock: MockClock, node: Node, newest_wins: bool) -> None:
    device = connect(node)
    befall(node, Reorder(by=Fixed(0.5)), first=1)
    pushes = [push(b"%d" % n, newest_wins=newest_wins) for n in range(3)]
    assert (await submit(node, *pushes))[0] is State.DELAYED
    await trio.sleep(0.4)
    assert device.events == [b"1", b"2"]
    await trio.sleep(0.2)
    assert device.events == [b"1", b"2", b"0"]


async def test_reordered_while_the_device_is_away(autojump_clock: MockClock, node: Node) -> None:
    befall(node, Reorder(by=Fixed(0.5)), first=1)
    await submit(node, push(b"0"), push(b"1"))
    await trio.sleep(1)
    assert connect(node).events == [b"1", b"0"]


async def test_duplicated(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, Duplicate(), first=1)
    await submit(node, push(b"1"), push(b"2"))
    assert device.events == [b"1", b"1", b"2"]
    assert device.seqs[0] == device.seqs[1]
    assert node.ledger.counts[State.DELIVERED_LIVE] == 2


@pytest.mark.parametrize("room", range(100))
async def test_duplicated_whatever_the_device_takes(
    autojump_clock: MockClock, node: Node, room: int
) -> None:
    device = connect(node, room=room)
    befall(node, Duplicate())
    await submit(node, push(b"1"), push(b"2"))
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert sorted(device.events) == [b"1", b"1", b"2", b"2"]
    assert device.events.index(b"1") < device.events.index(b"2")
    assert node.ledger.counts[State.DELIVERED_LIVE] == 2
    assert device.mailbox is None


async def test_a_device_that_is_away_gets_no_double(autojump_clock: MockClock, node: Node) -> None:
    befall(node, Duplicate())
    await submit(node, push(b"1"))
    assert connect(node).events == [b"1"]
    assert not node.ledger.faults


async def test_slow(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, SlowDevice(latency=Fixed(5)))
    states = await submit(node, push(b"1"), push(b"2"))
    assert states == [State.QUEUED, State.QUEUED]
    await trio.sleep(4.9)
    assert device.taken == b""
    await trio.sleep(0.2)
    assert device.events == [b"1", b"2"]
    assert device.mailbox is None
    assert await submit(node, push(b"3")) == [State.QUEUED]
    await trio.sleep(6)
    assert device.events == [b"1", b"2", b"3"]


async def test_too_slow(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, SlowDevice(latency=Fixed(60)))
    await submit(node, push(b"1"), push(b"2", ttl_s=0))
    await trio.sleep(9.9)
    assert not device.closed
    await trio.sleep(0.2)
    assert device.closed
    assert node.router.delivery.dismissed == {"too_slow": 1}
    assert node.ledger.counts[State.DROPPED_DEVICE_TOO_SLOW] == 1
    node.faults.clear()
    assert connect(node).events == [b"1"]


async def test_slow_and_gone_meanwhile(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, SlowDevice(latency=Fixed(5)))
    await submit(node, push(b"1"))
    node.router.delivery.disconnect(device)
    await trio.sleep(10)
    assert not node.router.delivery.dismissed
    assert connect(node).events == [b"1"]


async def test_disconnected_before(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, DisconnectDevice("before"))
    assert await submit(node, push(b"1"), push(b"2")) == [State.STORED, State.STORED]
    assert device.closed
    assert (device.events, connect(node).events) == ([], [b"1", b"2"])
    assert sum(node.ledger.faults.values()) == 1


async def test_disconnected_after(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, DisconnectDevice("after"), first=1)
    states = await submit(node, push(b"1"), push(b"2"))
    assert states == [State.DELIVERED_LIVE, State.STORED]
    assert device.closed
    assert (device.events, connect(node).events) == ([b"1"], [b"2"])


async def test_disconnected_after_what_it_did_not_take(
    autojump_clock: MockClock, node: Node
) -> None:
    befall(node, DisconnectDevice("after"), first=1)
    device = connect(node, room=10)
    await submit(node, push(b"1"))
    assert device.closed
    assert connect(node).events == [b"1"]


async def test_all_at_once(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, SlowDevice(latency=Fixed(1)), Duplicate(), DisconnectDevice("after"))
    assert await submit(node, push(b"1")) == [State.QUEUED]
    assert device.closed
    node.faults.clear()
    assert connect(node).events == [b"1"]


async def test_a_delayed_push_meets_no_fault_of_a_device(
    autojump_clock: MockClock, node: Node
) -> None:
    device = connect(node)
    befall(node, DisconnectDevice("before"))
    later = node.clock.wall() + 5
    assert await submit(node, push(b"1", not_before=later)) == [State.DELAYED]
    await trio.sleep(6)
    assert device.events == [b"1"]


async def test_a_broadcast(autojump_clock: MockClock, node: Node) -> None:
    devices = [connect(node, token) for token in ("aa", "ab", "bb")]
    befall(node, Lose())
    befall(node, Duplicate(), token="bb")
    counts = await node.router.broadcast(push(b"x"))
    assert counts == {State.LOST_BY_FAULT: 1, State.DELIVERED_LIVE: 2}
    assert [device.events for device in devices] == [[], [b"x"], [b"x", b"x"]]


async def test_without_rules_all_is_as_before(autojump_clock: MockClock, node: Node) -> None:
    device = connect(node)
    befall(node, Lose())
    node.faults.clear()
    assert await submit(node, push(b"1")) == [State.DELIVERED_LIVE]
    assert await node.router.broadcast(push(b"x")) == {State.DELIVERED_LIVE: 1}
    assert device.events == [b"1", b"x"]


async def test_time_is_trios(autojump_clock: MockClock, node: Node) -> None:
    connect(node)
    rule = Rule(match=Match(after_s=5, for_s=5), action=Lose())
    node.faults.add([rule], trio.current_time())
    states = []
    for n in range(4):
        states += await submit(node, push(b"%d" % n))
        await trio.sleep(4)
    assert [state is State.LOST_BY_FAULT for state in states] == [False, False, True, False]
