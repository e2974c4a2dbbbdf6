"""Where a push goes: every way through the router, with the books checked after each test."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import T0, FakeDevice, push
from trio_push.errors import Refusal
from trio_push.node import Node
from trio_push.push import NOW_OR_NEVER, Push, State
from trio_push.router.channel import SLICE


async def submit(node: Node, *pushes: Push) -> list[State]:
    return await node.push_channel.submit(pushes)


def attach(node: Node, device: FakeDevice) -> FakeDevice:
    node.router.attach(device)
    return device


async def test_connected_device_gets_push_at_once(autojump_clock: MockClock, node: Node) -> None:
    device = attach(node, FakeDevice())
    assert await submit(node, push(b"one"), push(b"two")) == [State.DELIVERED_LIVE] * 2
    assert device.events == [b"one", b"two"]
    assert device.seqs == sorted(set(device.seqs))


async def test_absent_device_gets_push_when_it_comes(autojump_clock: MockClock, node: Node) -> None:
    assert await submit(node, push(b"one"), push(b"two")) == [State.STORED] * 2
    device = attach(node, FakeDevice())
    assert device.events == [b"one", b"two"]
    assert node.ledger.counts[State.DELIVERED_ON_CONNECT] == 2
    assert device.mailbox is None


async def test_now_or_never_is_discarded_when_absent(autojump_clock: MockClock, node: Node) -> None:
    assert await submit(node, push(ttl_s=0)) == [State.DISCARDED]


async def test_stored_push_expires(autojump_clock: MockClock, node: Node) -> None:
    await submit(node, push(ttl_s=5))
    await trio.sleep(4)
    assert node.ledger.counts[State.STORED] == 1
    await trio.sleep(3)
    assert node.ledger.counts[State.EXPIRED] == 1
    assert attach(node, FakeDevice()).events == []


async def test_expired_push_is_not_delivered_before_the_sweep_has_seen_it(
    autojump_clock: MockClock, node: Node
) -> None:
    await submit(node, push(ttl_s=5.5))
    await trio.sleep(5.75)
    assert node.ledger.counts[State.EXPIRED] == 0
    assert attach(node, FakeDevice()).events == []
    assert node.ledger.counts[State.EXPIRED] == 1


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        pytest.param({"newest_wins": True}, {"newest_wins": True}, 1, id="apns"),
        pytest.param(
            {"newest_wins": True, "topic": "a"}, {"newest_wins": True, "topic": "b"}, 2, id="topics"
        ),
        pytest.param({"collapse_id": "c"}, {"collapse_id": "c"}, 1, id="collapse id"),
        pytest.param({"collapse_id": "c"}, {"collapse_id": "d"}, 2, id="other collapse id"),
        pytest.param({}, {}, 2, id="neither"),
        pytest.param({"newest_wins": True}, {"newest_wins": True, "collapse_id": "c"}, 2, id="mix"),
    ],
)
async def test_coalescing_in_the_store(
    autojump_clock: MockClock,
    node: Node,
    first: dict[str, object],
    second: dict[str, object],
    left: int,
) -> None:
    await submit(node, push(b"old", **first), push(b"new", **second))
    assert node.ledger.counts[State.COALESCED] == 2 - left
    assert attach(node, FakeDevice()).events == [b"old", b"new"][2 - left :]


async def test_mailbox_of_an_absent_device_is_bounded(
    autojump_clock: MockClock, node: Node
) -> None:
    states = await submit(node, *(push(b"%d" % n) for n in range(7)))
    assert states == [State.STORED] * 5 + [State.DROPPED_MAILBOX_FULL] * 2


async def test_newest_connection_wins(autojump_clock: MockClock, node: Node) -> None:
    old, new = attach(node, FakeDevice()), attach(node, FakeDevice())
    assert old.closed
    await submit(node, push(b"one"))
    assert (old.events, new.events) == ([], [b"one"])
    node.router.delivery.disconnect(old)  # its task ends later: must not detach the new one
    assert node.directory.get("aa") is new


async def test_replaced_connection_hands_its_queue_over(
    autojump_clock: MockClock, node: Node
) -> None:
    old = attach(node, FakeDevice(room=10))
    await submit(node, push(b"torn"), push(b"queued"))
    new = attach(node, FakeDevice())
    assert new.events == [b"torn", b"queued"]
    assert old.events == []


async def test_device_that_is_gone_is_noticed_by_the_push(
    autojump_clock: MockClock, node: Node
) -> None:
    device = attach(node, FakeDevice())
    device.gone = True
    assert await submit(node, push(b"one"), push(b"two", ttl_s=0)) == [
        State.STORED,
        State.DISCARDED,
    ]
    assert len(node.directory) == 0


async def test_closed_channel_refuses(autojump_clock: MockClock, node: Node) -> None:
    node.push_channel.close()
    with pytest.raises(Refusal, match="shutting down"):
        await submit(node, push())


async def test_recall(autojump_clock: MockClock, node: Node) -> None:
    await submit(
        node,
        push(b"a", id="r"),
        push(b"b", id="r", token="bb"),
        push(b"c", id="r", not_before=T0 + 5),
        push(b"d", id="other"),
    )
    assert node.router.recall("r") == 3
    assert node.router.recall("r") == 0
    assert node.ledger.counts[State.RECALLED] == 3
    await trio.sleep(6)
    assert attach(node, FakeDevice()).events == [b"d"]


async def test_unregister(autojump_clock: MockClock, node: Node) -> None:
    device = attach(node, FakeDevice())
    await submit(node, push(b"later", not_before=T0 + 5))
    assert node.router.unregister("aa") == int(T0 * 1000)
    assert device.closed
    await trio.sleep(3)
    assert node.router.unregister("aa") == int(T0 * 1000)
    with pytest.raises(Refusal) as info:
        node.directory.check("aa")
    assert (info.value.status, info.value.timestamp_ms) == (410, int(T0 * 1000))
    assert node.ledger.counts[State.RECALLED] == 1
    node.router.register("aa")
    node.directory.check("aa")


async def test_broadcast(autojump_clock: MockClock, node: Node) -> None:
    devices = [attach(node, FakeDevice(f"{n:02x}")) for n in range(250)]
    devices[3].gone = True
    devices[4].room = 5
    attach(node, slow := FakeDevice("ffff", room=0))
    await submit(node, push(b"queued", token="ffff"))
    counts = await node.router.broadcast(push(b"all", token=""))
    assert counts == {
        State.DELIVERED_LIVE: 248,
        State.STORED: 1,
        State.IN_FLIGHT: 1,
        State.QUEUED: 1,
    }
    for device in (slow, devices[4]):
        device.make_room(None)
    await wait_all_tasks_blocked()
    assert slow.events == [b"queued", b"all"]
    assert all(device.events == [b"all"] for device in devices if not device.gone)
    assert len(node.directory) == 250


async def test_broadcast_reaches_a_device_that_comes_back_meanwhile(
    autojump_clock: MockClock, node: Node
) -> None:
    tokens = [f"{n:04x}" for n in range(3 * SLICE)]
    for token in tokens:
        attach(node, FakeDevice(token))
    back: list[FakeDevice] = []

    async def come_back() -> None:
        # one that was written to already, and one that was not yet
        back.extend(attach(node, FakeDevice(token)) for token in (tokens[0], tokens[-1]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        counts = await node.router.broadcast(push(b"all", token=""))
    assert counts == {State.DELIVERED_LIVE: len(tokens)}
    assert [device.events for device in back] == [[], [b"all"]]


async def test_broadcast_replaces_by_collapse_id(autojump_clock: MockClock, node: Node) -> None:
    devices = [attach(node, FakeDevice(token)) for token in ("aa", "bb")]
    await submit(node, push(b"later", not_before=T0 + 5, collapse_id="c"))
    counts = await node.router.broadcast(push(b"all", token="", collapse_id="c"))
    assert counts == {State.DELIVERED_LIVE: 2}
    await trio.sleep(10)
    assert [device.events for device in devices] == [[b"all"], [b"all"]]
    assert node.ledger.counts[State.COALESCED] == 1


async def test_abandon_counts_as_lost(autojump_clock: MockClock, node: Node) -> None:
    await submit(node, push(b"a"), push(b"b", not_before=T0 + 5))
    assert node.router.abandon() == 2
    assert node.ledger.counts[State.LOST] == 2


async def test_no_room(autojump_clock: MockClock, node: Node) -> None:
    node.router.check_room(push())
    node.router._store_total = 1
    await submit(node, push())
    with pytest.raises(Refusal) as info:
        node.router.check_room(push(token="bb"))
    assert info.value.status == 503
    assert info.value.retry_after_s
    attach(node, FakeDevice("cc"))
    node.router.check_room(push(token="cc"))
    with pytest.raises(Refusal):
        node.router.check_room(push(token="cc", not_before=T0 + 5))


def test_now_or_never_is_not_storable() -> None:
    assert not push(ttl_s=0).storable
    assert push(ttl_s=0).expires_at == NOW_OR_NEVER
    assert not push(ttl_s=0).expired(T0)


async def test_what_is_discarded_replaces_nothing(autojump_clock: MockClock, node: Node) -> None:
    await submit(node, push(b"kept", collapse_id="c"))
    assert await submit(node, push(b"now", ttl_s=0, collapse_id="c")) == [State.DISCARDED]
    assert attach(node, FakeDevice()).events == [b"kept"]
