"""What is asked of one node and is true of all."""

from __future__ import annotations

import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from tests.fakes import T0, push
from tests.serving import PATIENCE_S
from trio_push.engine.everywhere import Waiting
from trio_push.errors import Refusal
from trio_push.push import State

pytestmark = pytest.mark.needs("redis-server")


async def test_recalled_wherever_it_is_held(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    slow = await b.connect("bb", room=0)
    await b.submit(push(b"x", token="bb"), push(b"x", token="bb"), push(b"x", token="bb"))
    await b.submit(push(b"x", token="bb"))
    await a.submit(push(b"x"), push(b"x", token="cc", not_before=nodes.clock.wall() + 60))
    # Three are on their way to the slow device.
    assert await a.node.everywhere.recall("x") == 3
    assert await b.node.everywhere.recall("x") == 0
    slow.make_room(None)
    await until(lambda: len(slow.events) == 3)
    await b.router.commit()
    assert (nodes.in_transit, await nodes.rows("aa", "bb", "cc")) == (0, 0)


async def test_what_waits_for_a_token(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await a.submit(push(b"1"), push(b"2"), push(b"3", not_before=nodes.clock.wall() + 60))
    assert await b.node.everywhere.waiting("aa") == Waiting(2, 1)
    assert await b.node.everywhere.is_held("3", "aa")
    assert not await b.node.everywhere.is_held("4", "aa")


async def test_unregistered_everywhere(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    device = await b.connect()
    await a.submit(push(b"1", token="bb"))
    since = await a.node.everywhere.unregister("aa")
    await a.node.everywhere.unregister("bb")
    await until(lambda: device.is_closed)
    with pytest.raises(Refusal) as refused:
        b.node.directory.check("aa")
    assert refused.value.timestamp_ms == since
    late = await nodes.start()
    await until(lambda: late.node.directory.unregistered_at_ms("bb"))
    await b.node.everywhere.register("aa")
    await until(lambda: a.node.directory.unregistered_at_ms("aa") is None)
    assert (a.count(State.RECALLED), nodes.in_transit) == (1, 0)


async def test_an_acknowledgement_is_told_to_who_waits_for_it(
    nodes: Nodes, a: OneNode, b: OneNode
) -> None:
    await b.connect()
    async with a.node.everywhere.expected("x") as acknowledged:
        assert await a.submit(push(wants_ack=True)) == [State.QUEUED]
        await until(lambda: b.count(State.AWAITING_ACK) == 1)
        assert b.router.acks.acknowledge("aa", "x")
        with trio.fail_after(PATIENCE_S):
            await acknowledged.wait()


async def test_acknowledged_at_another_node(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await b.connect()
    await a.submit(push(b"1", wants_ack=True))
    await until(lambda: b.count(State.AWAITING_ACK) == 1)
    assert await a.node.everywhere.acknowledge("aa", "1")
    assert not await a.node.everywhere.acknowledge("aa", "1")
    assert b.count(State.ACKNOWLEDGED) == 1
    await a.submit(push(b"2", token="bb"))
    assert await b.node.everywhere.acknowledge("bb", "2")


async def test_a_broadcast_reaches_all(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    devices = [await a.connect("aa"), await b.connect("bb"), await b.connect("cc")]
    counts = await a.node.everywhere.broadcast(push())
    assert counts == {State.DELIVERED_LIVE: 3}
    assert all(device.events == [b"x"] for device in devices)


async def test_users(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    here, there = await a.connect("aa"), await b.connect("bb")
    await a.node.everywhere.enrol("ann", "aa")
    await b.node.everywhere.enrol("ann", "bb")
    assert await b.node.everywhere.devices("ann") == ["aa", "bb"]
    a.router.mark_read("aa", "n1")
    await until(lambda: b'"n1"' in there.taken)
    assert here.taken == b""


#: what these do to it, tests/fault does to a Redis
in_memory = pytest.mark.parametrize("nodes", ["memory"], indirect=True)


@in_memory
async def test_what_cannot_be_reached_is_refused(nodes: Nodes, a: OneNode) -> None:
    nodes.shared.away = "gone"
    for ask in (
        a.node.everywhere.recall("x"),
        a.node.everywhere.waiting("aa"),
        a.node.everywhere.devices("ann"),
        a.node.everywhere.enrol("ann", "aa"),
    ):
        with pytest.raises(Refusal, match="gone"):
            await ask
    nodes.shared.away = ""


@in_memory
async def test_away_and_back(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    """Live local delivery goes on, what cannot be promised is refused, and it all comes back."""
    here = await a.connect("aa")
    nodes.shared.away = "gone"
    await until(lambda: a.node.journal.failure is not None)
    assert await a.submit(push(b"1")) == [State.DELIVERED_LIVE]
    for refused in (push(token="bb"), push(token="bb", ttl_s=0), push(wants_ack=True)):
        with pytest.raises(Refusal, match="gone"):
            a.router.check_room(refused)
    assert await a.submit(push(token="bb")) == [State.LOST]
    late = await a.connect("bb")
    nodes.shared.away = ""
    await until(lambda: a.node.journal.failure is None and b.node.journal.failure is None)
    await until(lambda: late.events == [])
    with trio.fail_after(PATIENCE_S):
        while await nodes.shared.owners(["bb"]) != [a.name]:
            await trio.sleep(0.01)
    assert await b.submit(push(b"2", token="bb"), push(b"3")) == [State.QUEUED] * 2
    await until(lambda: (late.events, here.events) == ([b"2"], [b"1", b"3"]))
    assert nodes.clock.wall() > T0
