"""Settings that are changed at one node, and hold at all of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.engine.messages import Changed
from trio_push.errors import Refusal
from trio_push.node import Node

pytestmark = pytest.mark.needs("redis-server")

#: where nobody has to wait for another process
in_memory = pytest.mark.parametrize("nodes", ["memory"], indirect=True)


class Held:
    """What a node has of one kind, and what it was told."""

    def __init__(self, node: Node, kind: str = "k") -> None:
        self.values: dict[str, bytes] = {}
        self.told: list[Mapping[str, bytes]] = []
        node.live.on_change(kind, self._take)

    def _take(self, values: Mapping[str, bytes]) -> None:
        self.told.append(dict(values))
        for name, value in values.items():
            self.values.pop(name, None)
            if value:
                self.values[name] = value


async def change(node: OneNode, fresh: bool = False, **values: bytes) -> bool:
    return await node.node.everywhere.change("k", values, fresh=fresh)


async def test_a_node_alone() -> None:
    node = Node.make(ServeSettings(), Clock())
    held = Held(node)
    assert await node.everywhere.change("k", {"x": b"1", "y": b"2"}, fresh=True)
    assert await node.everywhere.change("k", {"x": b""})
    await node.everywhere.catch_up()
    assert held.values == {"y": b"2"}
    node.answers["k"] = _twice
    assert await node.everywhere.ask("k", b"1") == [b"11"]


@in_memory
async def test_it_holds_everywhere_once_it_is_done(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    here, there = Held(a.node), Held(b.node)
    other = Held(b.node, "other")
    assert await change(a, x=b"1", y=b"2")
    assert here.values == there.values == {"x": b"1", "y": b"2"}
    assert await change(b, x=b"", z=b"3")
    assert here.values == there.values == {"y": b"2", "z": b"3"}
    assert here.told == there.told
    assert len(here.told) == 2
    assert other.told == []


@in_memory
async def test_it_holds_at_who_has_just_come(nodes: Nodes, a: OneNode) -> None:
    late = await nodes.start()
    held = Held(late.node)
    assert late.name not in a.engine.members.living
    assert await change(a, x=b"1")
    assert held.values == {"x": b"1"}


async def test_what_is_there_is_not_new(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    held = Held(b.node)
    assert await change(a, fresh=True, x=b"1")
    assert not await change(b, fresh=True, y=b"2", x=b"2")
    await until(lambda: held.values == {"x": b"1"})
    assert await change(b, x=b"")
    assert await change(a, fresh=True, x=b"3")
    await until(lambda: held.values == {"x": b"3"})


async def test_who_comes_later_is_told_all_in_order(nodes: Nodes, a: OneNode) -> None:
    await change(a, x=b"1", y=b"2")
    await change(a, w=b"3", y=b"")
    await change(a, x=b"4")
    late = OneNode(nodes.shared, nodes.clock)
    held = Held(late.node)
    await nodes._nursery.start(late.run)
    # known when it begins, not some time after
    assert [list(told.items()) for told in held.told] == [[("w", b"3"), ("y", b""), ("x", b"4")]]
    nodes.all.append(late)


async def test_who_was_not_told_sees_it_at_the_next_beat(
    nodes: Nodes, a: OneNode, b: OneNode
) -> None:
    held = Held(b.node)
    await change(a, x=b"1")
    await nodes.shared.change({"k x": b"", "k y": b"2"}, fresh=False)
    await until(lambda: held.values == {"y": b"2"})
    await change(a, z=b"3")
    await until(lambda: held.values == {"y": b"2", "z": b"3"})


async def test_a_gap_is_filled_and_what_is_old_is_passed_over(
    nodes: Nodes, a: OneNode, b: OneNode
) -> None:
    held = Held(b.node)
    await nodes.shared.change({"k x": b"1"}, fresh=False)
    assert await nodes.shared.change({"k y": b"2"}, fresh=False) == 2
    await b.node.live.hear(Changed(2, {"k y": b"2"}))
    assert held.values == {"x": b"1", "y": b"2"}
    await b.node.live.hear(Changed(1, {"k x": b"0"}))
    assert held.values == {"x": b"1", "y": b"2"}


async def test_many_at_once(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    """Whoever is asked, and in whatever order they hear of it, all have the same in the end."""
    here, there = Held(a.node), Held(b.node)
    async with trio.open_nursery() as nursery:
        for n in range(20):
            node = (a, b)[n % 2]
            nursery.start_soon(lambda node=node, n=n: change(node, **{f"n{n % 7}": b"%d" % n}))
    await until(lambda: here.values == there.values)
    assert list(here.values.items()) == list(there.values.items())
    assert len(here.values) == 7


@in_memory
async def test_any_node_is_asked(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    b.node.answers["k"] = _twice
    a.node.answers["k"] = _name_of_a
    assert await a.node.everywhere.ask("k", b"b") == [b"a", b"bb"]
    c = await nodes.start()
    await until(lambda: len(a.engine.members.living) == 3)
    assert sorted(await a.node.everywhere.ask("k", b"b")) == [b"a", b"bb"]
    assert "k" not in c.node.answers


@in_memory
async def test_away(nodes: Nodes, a: OneNode) -> None:
    held = Held(a.node)
    await change(a, x=b"1")
    nodes.shared.away = "gone"
    with pytest.raises(Refusal, match="gone"):
        await change(a, x=b"2")
    with pytest.raises(Refusal, match="gone"):
        await a.node.everywhere.catch_up()
    assert held.values == {"x": b"1"}
    nodes.shared.away = ""


async def _twice(body: bytes) -> bytes:
    return 2 * body


async def _name_of_a(_: bytes) -> bytes:
    return b"a"
