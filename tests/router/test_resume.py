"""Devices that come back: what they missed and nothing twice; pushes that want their word."""

from __future__ import annotations

import random

import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import FakeDevice, push
from trio_push.config import ServeSettings
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.wire.cursor import Cursor

SYNC_RESULT = b"sync_result"


async def submit(node: Node, *pushes: Push) -> list[State]:
    return await node.push_channel.submit(pushes)


def attach(node: Node, seen: int | None = None, room: int | None = None) -> FakeDevice:
    device = FakeDevice(room=room)
    node.router.attach(device, None if seen is None else Cursor(node.router.epoch, seen))
    return device


def recovered(device: FakeDevice) -> list[bool]:
    """What the device was told of its resuming."""
    return [orjson.loads(data)["recovered"] for data in device.fields(b"data", SYNC_RESULT)]


# -- resume


async def test_missed_events_are_sent_again(autojump_clock: MockClock, node: Node) -> None:
    old = attach(node)
    await submit(node, push(b"1"), push(b"2"), push(b"3"))
    new = attach(node, old.seqs[0])
    assert new.events == [b"2", b"3"]
    assert new.seqs == old.seqs[1:]
    assert recovered(new) == [True]
    assert node.ledger.counts[State.DELIVERED_LIVE] == 3


async def test_what_is_pushed_meanwhile_comes_behind_what_was_missed(
    autojump_clock: MockClock, node: Node
) -> None:
    """A device says what it has when it takes no more just then."""
    old = attach(node)
    await submit(node, push(b"1"), push(b"2"), push(b"3"))
    before = node.router.history.mark
    node.router.delivery.disconnect(old)
    new = attach(node, room=5)
    await submit(node, push(b"4"))
    node.router.resume(new, Cursor(node.router.epoch, old.seqs[0]), before=before)
    await submit(node, push(b"5"))
    new.make_room(None)
    await wait_all_tasks_blocked()
    assert new.events == [b"4", b"2", b"3", b"5"]


async def test_missed_and_stored_come_in_order(autojump_clock: MockClock, node: Node) -> None:
    old = attach(node)
    await submit(node, push(b"1"), push(b"2"))
    node.router.delivery.disconnect(old)
    await submit(node, push(b"3"))
    new = attach(node, old.seqs[0])
    assert new.events == [b"2", b"3"]
    assert new.seqs == sorted(new.seqs)


async def test_who_does_not_ask_gets_nothing_twice(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, push(b"1"))
    assert attach(node).events == []


async def test_now_or_never_is_not_sent_again(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, push(b"1", ttl_s=0))
    assert attach(node, 0).events == []


async def test_a_gap_is_told(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, *(push(b"%d" % n) for n in range(7)))
    new = attach(node, 0)
    assert new.events == [b"%d" % n for n in range(7)][-4:]
    assert recovered(new) == [False]


async def test_broadcasts_are_missed_too(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await node.router.broadcast(push(b"all", token=""))
    assert attach(node, 0).events == [b"all"]


async def test_no_loss_and_no_double_under_a_steady_stream(
    autojump_clock: MockClock, node: Node
) -> None:
    """A device that reads at random, breaks off at random and comes back, while pushes come."""
    rng = random.Random(5)
    got: list[bytes] = []
    device: FakeDevice | None = None
    last = 0
    sent = 0
    for _ in range(2_000):
        choice = rng.random()
        if choice < 0.5:
            await submit(node, push(b"%d" % sent))
            sent += 1
        elif choice < 0.7 and device is not None:
            device.make_room(rng.choice([0, 3, 40, 200, None]))
            await wait_all_tasks_blocked()
        elif choice < 0.8 and device is not None:
            # The peer has read some whole events of what the kernel took; the rest is gone.
            read = rng.randrange(len(device.events) + 1)
            got += device.events[:read]
            assert False not in recovered(device)
            last = device.seqs[read - 1] if read else last
            node.router.delivery.disconnect(device)
            device = None
        elif device is None:
            device = attach(node, last, room=rng.choice([10, 500, None]))
    if device is None:
        device = attach(node, last)
    device.make_room(None)
    await wait_all_tasks_blocked()
    got += device.events
    assert got == [b"%d" % n for n in range(sent)]
    assert sent > 900


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> ServeSettings:
    if "steady" in request.node.name:
        return ServeSettings(mailbox_capacity=3, store_per_token=2_000, history_per_token=2_000)
    return ServeSettings(mailbox_capacity=3, store_per_token=5, history_per_token=4)


# -- acknowledgements


async def test_acknowledged(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    assert await submit(node, push(b"1", wants_ack=True)) == [State.AWAITING_ACK]
    assert node.router.acks.acknowledge("aa", "1")
    assert not node.router.acks.acknowledge("aa", "1")
    assert node.ledger.counts[State.ACKNOWLEDGED] == 1


async def test_only_its_device_may_acknowledge(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, push(b"1", wants_ack=True))
    assert not node.router.acks.acknowledge("bb", "1")


async def test_acknowledged_by_resuming_behind_it(autojump_clock: MockClock, node: Node) -> None:
    device = attach(node)
    await submit(node, push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    new = attach(node, device.seqs[0])
    assert new.events == [b"2"]
    assert node.ledger.counts[State.ACKNOWLEDGED] == 1


async def test_sent_again_on_reconnect(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, push(b"1", wants_ack=True))
    new = attach(node)
    assert new.events == [b"1"]
    assert node.ledger.counts[State.AWAITING_ACK] == 1


async def test_sent_again_after_the_ack_timeout(autojump_clock: MockClock, node: Node) -> None:
    device = attach(node)
    await submit(node, push(b"1", wants_ack=True))
    await trio.sleep(29)
    assert device.events == [b"1"]
    await trio.sleep(3)
    assert device.events == [b"1", b"1"]
    assert device.seqs[0] < device.seqs[1]
    assert node.router.acks.acknowledge("aa", "1")
    await trio.sleep(100)
    assert len(device.events) == 2


async def test_waits_for_the_device_when_it_is_gone(autojump_clock: MockClock, node: Node) -> None:
    node.router.delivery.disconnect(attach(node))
    device = attach(node)
    await submit(node, push(b"1", wants_ack=True))
    node.router.delivery.disconnect(device)
    await trio.sleep(100)
    assert attach(node).events == [b"1"]


async def test_expires_unacknowledged(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    await submit(node, push(b"1", ttl_s=10, wants_ack=True))
    await trio.sleep(12)
    assert node.ledger.counts[State.EXPIRED] == 1


async def test_acknowledgement_after_it_was_sent_back(
    autojump_clock: MockClock, node: Node
) -> None:
    """The device's word crosses the time-out while its connection is gone: it counts."""
    device = attach(node)
    await submit(node, push(b"1", wants_ack=True))
    node.router.delivery.disconnect(device)
    await trio.sleep(40)
    assert node.ledger.counts[State.STORED] == 1
    assert node.router.acks.acknowledge("aa", "1")


async def test_unacknowledged_pushes_are_bounded(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    states = await submit(node, *(push(b"%d" % n, wants_ack=True) for n in range(6)))
    assert states == [State.AWAITING_ACK] * 5 + [State.DROPPED_MAILBOX_FULL]


async def test_recalled_while_unacknowledged(autojump_clock: MockClock, node: Node) -> None:
    device = attach(node)
    await submit(node, push(b"1", wants_ack=True))
    assert node.router.recall("1") == 1
    await trio.sleep(100)
    assert device.events == [b"1"]


async def test_waiting_for_the_acknowledgement(autojump_clock: MockClock, node: Node) -> None:
    attach(node)
    with node.router.acks.expected("1") as one, node.router.acks.expected("1") as other:
        await submit(node, push(b"1", wants_ack=True))
        assert not one.is_set()
        node.router.acks.acknowledge("aa", "1")
        assert one.is_set()
        assert other.is_set()
    assert node.router.acks._waiting == {}


# -- what cannot be resumed


@pytest.mark.parametrize(("epoch", "seq"), [("other", 1), (None, 10**9)])
async def test_a_cursor_of_another_life(
    autojump_clock: MockClock, node: Node, epoch: str | None, seq: int
) -> None:
    attach(node)
    await submit(node, push(b"1"), push(b"2", wants_ack=True))
    device = FakeDevice()
    node.router.attach(device, Cursor(epoch or node.router.epoch, seq))
    assert recovered(device) == [False]
    assert device.events == [b"2"]
    assert node.ledger.counts[State.ACKNOWLEDGED] == 0


async def test_the_answer_says_from_where_to_where(autojump_clock: MockClock, node: Node) -> None:
    old = attach(node)
    await submit(node, push(b"1"), push(b"2"))
    new = attach(node, old.seqs[0])
    [answer] = [orjson.loads(data) for data in new.fields(b"data", SYNC_RESULT)]
    assert answer["epoch"] == "e"
    assert answer["from"] == old.seqs[0]
    assert answer["to"] >= old.seqs[1]
    await submit(node, push(b"3"))
    assert new.seqs[-1] > answer["to"]


# -- users


async def test_read_on_one_device_is_told_to_the_others(
    autojump_clock: MockClock, node: Node
) -> None:
    phone, laptop = FakeDevice("aa"), FakeDevice("bb")
    for device in phone, laptop:
        node.router.attach(device)
    for token in "aa", "bb", "cc":
        node.router.users.enrol("alice", token)
    node.router.users.enrol("bob", "dd")
    node.router.mark_read("aa", "n1")
    assert phone.fields(b"data", b"mark_read") == []
    assert laptop.fields(b"data", b"mark_read") == [b'{"notification_id":"n1"}']
    tablet = FakeDevice("cc")
    node.router.attach(tablet)
    assert tablet.fields(b"data", b"mark_read") == [b'{"notification_id":"n1"}']
    node.router.mark_read("ee", "n1")
