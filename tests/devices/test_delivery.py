"""Writing to devices that take as much as the test says; the whole of it is in tests/fault."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import FakeDevice, push
from trio_push.devices.delivery import WRITE_BYTES, DeviceGone
from trio_push.node import Node
from trio_push.push import Numbered, Push, State
from trio_push.wire.cursor import Cursor


class Device(FakeDevice):
    def __init__(self, node: Node, room: int | None = None, token: str = "aa") -> None:
        super().__init__(token, room)
        node.router.attach(self)


async def submit(node: Node, *pushes: Push) -> list[State]:
    return await node.push_channel.submit(pushes)


async def test_nothing_waits_while_the_device_takes_everything(
    autojump_clock: MockClock, node: Node
) -> None:
    device = Device(node)
    tasks = trio.lowlevel.current_statistics().tasks_living
    await submit(node, *(push(b"%d" % n) for n in range(100)))
    assert device.events == [b"%d" % n for n in range(100)]
    assert device.mailbox is None
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("room", range(60))
async def test_an_event_is_cut_anywhere_and_goes_on_there(
    autojump_clock: MockClock, node: Node, room: int
) -> None:
    device = Device(node, room)
    await submit(node, push(b"one"), push(b"two"), push(b"three"))
    await wait_all_tasks_blocked()
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"one", b"two", b"three"]
    assert device.mailbox is None
    assert not node.router.delivery.waiting


async def test_one_drain_task_while_something_waits(autojump_clock: MockClock, node: Node) -> None:
    device = Device(node, 1)
    tasks = trio.lowlevel.current_statistics().tasks_living
    for n in range(3):
        await submit(node, push(b"%d" % n))
        device.make_room(1)
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks + 1
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_beyond_the_mailbox_pushes_wait_in_the_store_and_keep_their_order(
    autojump_clock: MockClock, node: Node
) -> None:
    """3 fit into the mailbox, 5 into the store of a token; now-or-never only into the first."""
    device = Device(node, 0)
    states = await submit(
        node,
        *(push(b"%d" % n) for n in range(4)),
        push(b"never", ttl_s=0),
        *(push(b"%d" % n) for n in range(4, 11)),
    )
    assert states == (
        [State.IN_FLIGHT]
        + [State.QUEUED] * 3
        + [State.DROPPED_MAILBOX_FULL]
        + [State.STORED] * 5
        + [State.DROPPED_MAILBOX_FULL] * 2
    )
    assert device.queued == 3
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"%d" % n for n in range(9)]
    assert node.ledger.counts[State.DELIVERED_LIVE] == 9
    assert await submit(node, push(b"live again")) == [State.DELIVERED_LIVE]


# -- devices that come back


class Returning(FakeDevice):
    """Notes how much it is handed at a time. `come` gives it what it has missed."""

    def __init__(self, room: int | None = None) -> None:
        super().__init__(room=room)
        self.handed: list[int] = []

    def send(self, data: bytes) -> int:
        self.handed.append(len(data))
        return super().send(data)

    def come(self, node: Node, seen: int) -> None:
        node.router.attach(self, Cursor(node.router.epoch, seen), opening=b"head\n\n")


async def missed_and_stored(node: Node) -> int:
    """Two pushes that a device has been sent and two that it has not; the last that it has."""
    device = Device(node)
    await submit(node, push(b"0"), push(b"1"), push(b"2"))
    node.router.delivery.disconnect(device)
    await submit(node, push(b"3"), push(b"4"))
    return device.seqs[0]


async def test_what_waits_is_joined(autojump_clock: MockClock, node: Node) -> None:
    seen = await missed_and_stored(node)
    device = Returning()
    device.come(node, seen)
    assert device.taken.startswith(b"head\n\nevent: sync_result\n")
    assert device.events == [b"1", b"2", b"3", b"4"]
    assert device.handed == [len(device.taken)]
    assert device.mailbox is None


@pytest.mark.parametrize("room", range(250))
async def test_what_is_joined_is_cut_anywhere_and_goes_on_there(
    autojump_clock: MockClock, node: Node, room: int
) -> None:
    """What the device has not taken the beginning of waits where it was."""
    seen = await missed_and_stored(node)
    device = Returning(room)
    device.come(node, seen)
    counts, whole = node.ledger.counts, device.taken.count(b"\n\n")
    # head, greeting and what it has missed, which is in nobody's books, go before what is stored
    arrived = max(whole - 4, 0)
    torn = whole >= 4 and not device.taken.endswith(b"\n\n")
    assert counts[State.DELIVERED_ON_CONNECT] == arrived
    assert counts[State.IN_FLIGHT] == torn
    assert counts[State.STORED] == 2 - arrived - torn
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"1", b"2", b"3", b"4"]
    assert device.seqs == sorted(device.seqs)
    assert device.mailbox is None


async def test_what_has_not_begun_can_be_recalled_and_expires(
    autojump_clock: MockClock, node: Node
) -> None:
    await submit(node, push(b"a"), push(b"b", ttl_s=2), push(b"c"), push(b"d"))
    device = Device(node, 5)
    assert node.router.recall("c") == 1
    await trio.sleep(3)
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"a", b"d"]


async def test_joined_writes_are_bounded(autojump_clock: MockClock, node: Node) -> None:
    await submit(node, *(push(b"%d" % n * 9_000) for n in range(5)))
    device = Returning()
    node.router.attach(device)
    assert device.events == [b"%d" % n * 9_000 for n in range(5)]
    assert len(device.handed) == 3
    assert max(device.handed) < WRITE_BYTES + 9_100


class OverTls(FakeDevice):
    """What would have blocked is handed over again, or the connection is broken."""

    joins = False
    handed = b""

    def send(self, data: bytes) -> int:
        assert data.startswith(self.handed)
        self.handed = data if self.room == 0 else b""
        return super().send(data)


async def test_what_tls_was_handed_it_is_handed_again(
    autojump_clock: MockClock, node: Node
) -> None:
    await submit(node, *(push(b"%d" % n) for n in range(3)))
    device = OverTls(room=0)
    node.router.attach(device)
    assert [node.router.recall(id) for id in ("0", "1")] == [0, 1]
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"0", b"2"]


# -- devices that are slow


async def test_cut_exactly_after_the_write_timeout(autojump_clock: MockClock, node: Node) -> None:
    device = Device(node, 10)
    await submit(node, push(b"kept"), push(b"gone", ttl_s=0), push(b"kept too"))
    await trio.sleep(9.999)
    assert not device.closed
    await trio.sleep(0.002)
    assert device.closed
    assert len(node.directory) == 0
    assert node.router.delivery.dismissed["too_slow"] == 1
    assert node.ledger.counts[State.DROPPED_DEVICE_TOO_SLOW] == 1
    assert Device(node).events == [b"kept", b"kept too"]


async def test_a_device_that_takes_a_little_in_time_is_kept(
    autojump_clock: MockClock, node: Node
) -> None:
    device = Device(node, 5)
    await submit(node, push(b"one"))
    for _ in range(5):
        await trio.sleep(9)
        device.make_room(5)
    await trio.sleep(9)
    assert not device.closed
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"one"]


async def test_what_expired_while_it_waited_is_not_written(
    autojump_clock: MockClock, node: Node
) -> None:
    device = Device(node, 0)
    await submit(node, push(b"torn", ttl_s=2), push(b"late", ttl_s=2), push(b"on time"))
    await trio.sleep(3)
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"torn", b"on time"]  # what was begun is ended
    assert node.ledger.counts[State.EXPIRED] == 1


# -- devices that are gone


async def test_deliver_says_that_the_device_is_gone(autojump_clock: MockClock, node: Node) -> None:
    device = Device(node)
    device.gone = True
    with pytest.raises(DeviceGone):
        node.router.delivery.deliver(device, Numbered(1, push()))
    assert device.closed
    assert len(node.directory) == 0


async def test_disconnect_twice_is_as_good_as_once(autojump_clock: MockClock, node: Node) -> None:
    device = Device(node, 0)
    await submit(node, push(b"one"))
    newer = Device(node)
    for _ in range(2):
        node.router.delivery.disconnect(device)
    assert node.directory.get("aa") is newer
    assert newer.events == [b"one"]


# -- comments


async def test_a_comment_that_is_torn_ends_before_the_next_event(
    autojump_clock: MockClock, node: Node
) -> None:
    device = Device(node, 4)
    node.router.delivery.whisper(device, b": keepalive\n\n")
    assert await submit(node, push(b"one")) == [State.QUEUED]
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.taken.startswith(b": keepalive\n\nid: ")
    assert device.events == [b"one"]


async def test_a_torn_comment_is_not_given_back(autojump_clock: MockClock, node: Node) -> None:
    device = Device(node, 4)
    node.router.delivery.whisper(device, b": keepalive\n\n")
    node.router.delivery.disconnect(device)
    assert Device(node).taken == b""
    assert node.ledger.accepted == 0


# -- one broadcast


async def test_broadcast_to_slow_devices_can_be_recalled_from_each(
    autojump_clock: MockClock, node: Node
) -> None:
    """Its copies share id and number; both come back to the store."""
    devices = [Device(node, 5, token) for token in ("aa", "bb", "cc")]
    await node.router.broadcast(push(b"all", token="", id="all"))
    await trio.sleep(11)
    assert all(device.closed for device in devices)
    assert node.ledger.counts[State.STORED] == 3
    assert Device(node, token="aa").events == [b"all"]
    assert node.router.recall("all") == 2
    assert Device(node, token="bb").events == []
