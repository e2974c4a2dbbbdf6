"""Rules of faults that are changed at one node, and hold at all."""

from __future__ import annotations

import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from tests.fakes import push
from trio_push.faults import SCENARIOS, Match, Rule, RuleRefused
from trio_push.faults.actions import Lose, Status
from trio_push.faults.book import MAX_RULES
from trio_push.push import State

pytestmark = pytest.mark.needs("redis-server")

#: where nobody has to wait for another process
in_memory = pytest.mark.parametrize("nodes", ["memory"], indirect=True)

LOSSY = Rule(name="lossy", match=Match(token_prefix="aa"), action=Lose())
SHUTDOWN = Status(reason="Shutdown")


def names(node: OneNode) -> list[str]:
    return [active.rule.name for active in node.node.faults.active]


async def listed(node: OneNode) -> dict[str, int]:
    return {each.rule.name: each.times for each in (await node.node.rules.listing()).rules}


@in_memory
async def test_added_at_one_removed_at_the_other(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    [added] = await a.node.rules.add([LOSSY])
    assert (added.rule, added.times) == (LOSSY, 0)
    assert names(a) == names(b) == ["lossy"]
    assert not await b.node.rules.remove("other")
    assert await b.node.rules.remove("lossy")
    assert names(a) == names(b) == []
    await b.node.rules.add(SCENARIOS["throttled"].rules)
    assert names(a) == names(b) == [rule.name for rule in SCENARIOS["throttled"].rules]
    assert await a.node.rules.clear() == 3
    assert names(a) == names(b) == []
    assert await a.node.rules.clear() == 0


async def test_counted_at_each_and_summed(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await a.node.rules.add([LOSSY])
    await until(lambda: names(b) == ["lossy"])
    for node, n in ((a, 2), (b, 1)):
        for _ in range(n):
            assert await node.submit(push()) == [State.LOST_BY_FAULT]
    assert await listed(a) == await listed(b) == {"lossy": 3}
    listing = await b.node.rules.listing()
    assert listing.nodes == 2
    assert listing.rules[0].age_s > 0


async def test_the_first_of_each_node(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await a.node.rules.add([Rule(match=Match(first=1), action=Lose())])
    await until(lambda: names(b) == ["lose-1"])
    for node in (a, b):
        assert await node.submit(push(b"1"), push(b"2")) == [State.LOST_BY_FAULT, State.STORED]


async def test_a_name_is_given_once(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    async with trio.open_nursery() as nursery:
        for node in (a, b, a, b):
            nursery.start_soon(node.node.rules.add, [Rule(action=SHUTDOWN)])
    await until(lambda: names(a) == names(b) and len(names(a)) == 4)
    assert sorted(names(a)) == [f"status-{n}" for n in range(1, 5)]
    with pytest.raises(RuleRefused, match="named status-1 already"):
        await b.node.rules.add([Rule(action=SHUTDOWN), Rule(name="status-1", action=SHUTDOWN)])
    assert len(names(a)) == len(names(b)) == 4


async def test_a_name_that_another_has_just_taken(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    """One of them is told so, although it had not heard of it."""
    refused = []

    async def add(node: OneNode) -> None:
        try:
            await node.node.rules.add([LOSSY])
        except RuleRefused:
            refused.append(node)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, a)
        nursery.start_soon(add, b)
    assert len(refused) == 1
    await until(lambda: names(a) == names(b) == ["lossy"])


async def test_a_name_that_is_not_known_here(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    """A newer version has put it there: it does nothing here, and its name is taken."""
    newer = b'{"rule":{"name":"odd","action":{"kind":"explode"}},"added_at_epoch_s":1}'
    assert await a.node.everywhere.change("faults", {"odd": newer})
    await a.node.rules.add([LOSSY])
    await until(lambda: names(b) == ["lossy"])
    with pytest.raises(RuleRefused, match="another node has rules of these names: odd"):
        await b.node.rules.add([Rule(name="odd", action=SHUTDOWN)])


async def test_who_comes_later_has_them_too(nodes: Nodes, a: OneNode) -> None:
    rules = [Rule(name=name, action=SHUTDOWN) for name in ("one", "two", "three")]
    await a.node.rules.add(rules)
    await a.node.rules.add([Rule(name="window", match=Match(after_s=0.2), action=Lose())])
    await a.node.rules.remove("two")
    await trio.sleep(0.3)
    late = await nodes.start()
    assert names(late) == ["one", "three", "window"]
    # and the time runs from when it was added, not from when the node came
    assert await late.submit(push()) == [State.LOST_BY_FAULT]


async def test_what_a_node_has_from_its_start_is_its_own(
    nodes: Nodes, a: OneNode, b: OneNode
) -> None:
    b.node.faults.add([LOSSY, Rule(name="own", action=SHUTDOWN)], trio.current_time())
    await a.node.rules.add([Rule(name="all", action=SHUTDOWN)])
    await until(lambda: names(b) == ["lossy", "own", "all"])
    assert names(a) == ["all"]
    assert [*await listed(a)] == ["all", "lossy", "own"]
    assert await a.submit(push()) == [State.STORED]
    assert await b.submit(push()) == [State.LOST_BY_FAULT]
    # removed at any node, it stays away from one that comes with it
    assert await a.node.rules.remove("lossy")
    await until(lambda: names(b) == ["own", "all"])
    late = OneNode(nodes.shared, nodes.clock)
    late.node.faults.add([LOSSY], trio.current_time())
    await nodes._nursery.start(late.run)
    nodes.all.append(late)
    assert names(late) == ["all"]
    await late.node.rules.add([LOSSY])
    await until(lambda: names(b) == ["own", "all", "lossy"])


async def test_no_more_than_a_node_can_have(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await a.node.rules.add([Rule(action=SHUTDOWN)] * MAX_RULES)
    await until(lambda: len(names(b)) == MAX_RULES)
    with pytest.raises(RuleRefused, match=str(MAX_RULES)):
        await b.node.rules.add([LOSSY])
