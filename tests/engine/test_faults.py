"""Faults on demand among nodes: of pushes where they come in, of devices where those are."""

from __future__ import annotations

import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from tests.fakes import push
from tests.serving import PATIENCE_S
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
from trio_push.push import State

pytestmark = pytest.mark.needs("redis-server")


async def befall(nodes: Nodes, action: Action, first: int | None = None) -> None:
    """A rule of this kind at all nodes, with this limit at each."""
    rule = Rule(name="r", match=Match(token_prefix="aa", first=first), action=action)
    await nodes.all[0].node.rules.add([rule])
    await until(lambda: all(node.node.faults.active for node in nodes.all))


def times(node: OneNode) -> int:
    return node.node.faults.active[0].times


async def test_lost_where_it_is_accepted(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    device = await b.connect()
    await befall(nodes, Lose(), first=1)
    states = await a.submit(push(b"1"), push(b"2"), push(b"3", "bb"))
    assert states == [State.LOST_BY_FAULT, State.QUEUED, State.STORED]
    await until(lambda: device.events == [b"2"])
    assert await a.submit(push(b"4")) == [State.QUEUED]
    assert await b.submit(push(b"5")) == [State.LOST_BY_FAULT]
    await until(lambda: device.events == [b"2", b"4"])
    assert (a.count(State.LOST_BY_FAULT), b.count(State.LOST_BY_FAULT)) == (1, 1)
    # what came from the other was judged there
    assert (times(a), times(b)) == (1, 1)


async def test_all_of_them_lost(nodes: Nodes, a: OneNode) -> None:
    await befall(nodes, Lose())
    assert await a.submit(push(b"1"), push(b"2")) == [State.LOST_BY_FAULT] * 2
    assert await a.submit(push(b"1")) == [State.LOST_BY_FAULT]


async def test_overtaken(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    device = await b.connect()
    await befall(nodes, Reorder(by=Fixed(2.0)), first=1)
    assert await a.submit(push(b"1"), push(b"2")) == [State.DELAYED, State.QUEUED]
    await until(lambda: device.events == [b"2", b"1"])
    assert await b.submit(push(b"3"), push(b"4")) == [State.DELAYED, State.DELIVERED_LIVE]
    await until(lambda: device.events == [b"2", b"1", b"4", b"3"])
    await until(lambda: nodes.in_transit == 0)


async def test_twice(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    device = await b.connect()
    await befall(nodes, Duplicate(), first=1)
    await a.submit(push(b"1"), push(b"2"))
    await until(lambda: device.events == [b"1", b"1", b"2"])
    assert device.seqs[0] == device.seqs[1]
    assert (b.count(State.DELIVERED_LIVE), times(a), times(b)) == (2, 0, 1)


async def test_slow(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    device = await b.connect()
    await befall(nodes, SlowDevice(latency=Fixed(0.5)), first=1)
    began = trio.current_time()
    await a.submit(push(b"1"), push(b"2"))
    await until(lambda: device.events == [b"1", b"2"])
    assert trio.current_time() - began >= 0.5
    assert device.taken.startswith(b":")


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(("when", "read"), [("before", []), ("after", [b"1"])])
async def test_cut_off(
    nodes: Nodes, a: OneNode, b: OneNode, when: str, read: list[bytes], there: bool
) -> None:
    home = b if there else a
    device = await home.connect()
    await befall(nodes, DisconnectDevice(when), first=1)
    await a.submit(push(b"1"))
    await until(lambda: device.is_closed)
    assert device.events == read
    left = [b"1"][len(read) :]
    with trio.fail_after(PATIENCE_S):
        while await nodes.rows("aa") != len(left):
            await trio.sleep(0.01)
    other = a if there else b
    # its first has been: what comes now is written as always
    befallen = times(a) + times(b)
    assert befallen == 1
    back = await other.connect()
    assert back.events == left
    await until(lambda: nodes.in_transit == 0)


async def test_a_push_that_must_not_be_stored_ends_with_its_device(
    nodes: Nodes, a: OneNode, b: OneNode
) -> None:
    device = await b.connect()
    await befall(nodes, DisconnectDevice("before"))
    await a.submit(push(b"1", ttl_s=0))
    await until(lambda: b.count(State.DISCARDED) == 1)
    assert device.events == []


async def test_a_broadcast_at_each_node(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    devices = [await a.connect("aa01"), await b.connect("aa02"), await b.connect("bb")]
    await befall(nodes, Lose(), first=1)
    counts = await a.node.everywhere.broadcast(push(b"1"))
    assert counts == {State.LOST_BY_FAULT: 2, State.DELIVERED_LIVE: 1}
    assert [device.events for device in devices] == [[], [], [b"1"]]
    await a.node.rules.clear()
    await until(lambda: not b.node.faults.active)
    await befall(nodes, Reorder(by=Fixed(2.0)), first=1)
    counts = await a.node.everywhere.broadcast(push(b"2"))
    assert counts == {State.DELAYED: 2, State.DELIVERED_LIVE: 1}
    await until(lambda: [each.events for each in devices] == [[b"2"], [b"2"], [b"1", b"2"]])
    await until(lambda: nodes.in_transit == 0)
