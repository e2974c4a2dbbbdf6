"""Two nodes that are one server: the same on memory and on Redis."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.engine.nodes import Nodes, OneNode, until
from tests.fakes import T0, FakeDevice, push
from trio_push.engine.messages import Question, Recollect, Yield
from trio_push.engine.recollection import LATE_TRIES
from trio_push.errors import StoreFailed
from trio_push.push import State
from trio_push.wire.cursor import Cursor

pytestmark = pytest.mark.needs("redis-server")


async def test_a_push_finds_its_device_at_the_other_node(nodes: Nodes, a, b) -> None:
    device = await b.connect()
    assert await a.submit(push(b"1"), push(b"2", ttl_s=0)) == [State.QUEUED] * 2
    await until(lambda: device.events == [b"1", b"2"])
    assert (a.count(State.HANDED_OVER), b.count(State.DELIVERED_LIVE)) == (2, 2)
    assert nodes.in_transit == 0


async def test_a_push_for_a_device_here_asks_nobody(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    assert await a.submit(push()) == [State.DELIVERED_LIVE]
    assert (device.events, a.count(State.HANDED_OVER)) == ([b"x"], 0)


async def test_nothing_gets_nowhere_at_once(nodes: Nodes, a, b) -> None:
    """As when every token of a request was refused."""
    assert await a.submit() == []


async def test_stored_at_one_delivered_by_the_other(nodes: Nodes, a, b) -> None:
    assert await a.submit(push(b"1"), push(b"never", ttl_s=0)) == [State.STORED, State.DISCARDED]
    assert await b.submit(push(b"2")) == [State.STORED]
    assert nodes.in_transit == await nodes.rows("aa") == 2
    device = await b.connect()
    assert device.events == [b"1", b"2"]
    assert b.count(State.DELIVERED_ON_CONNECT) == 2
    await b.router.commit()
    assert nodes.in_transit == await nodes.rows("aa") == 0


async def test_the_newest_connection_wins(nodes: Nodes, a, b) -> None:
    first = await a.connect()
    second = await b.connect()
    await until(lambda: first.is_closed)
    assert await a.submit(push()) == [State.QUEUED]
    await until(lambda: second.events == [b"x"])
    assert first.events == []


async def test_back_and_forth(nodes: Nodes, a, b) -> None:
    for n in range(10):
        node, other = (a, b) if n % 2 else (b, a)
        device = await node.connect()
        await other.submit(push(b"%d" % n))
        await until(lambda device=device: device.events)
    await until(lambda: len(a.node.directory) + len(b.node.directory) == 1)


async def test_a_device_that_leaves_leaves_what_it_did_not_take(nodes: Nodes, a, b) -> None:
    device = await a.connect(room=10)
    await b.submit(*(push(b"%d" % n) for n in range(4)))
    await until(lambda: a.books["taken_over"] == 4)
    a.disconnect(device)
    await until(lambda: nodes.in_transit == 4)
    await a.engine.tokens.settle()
    assert await nodes.rows("aa") == 4
    assert (await b.connect()).events == [b"0", b"1", b"2", b"3"]
    assert nodes.in_transit == 0


async def test_taken_over_while_it_is_slow(nodes: Nodes, a, b) -> None:
    await a.connect(room=10)
    await a.submit(*(push(b"%d" % n) for n in range(4)))
    device = await b.connect()
    await until(lambda: device.events == [b"0", b"1", b"2", b"3"])
    await until(lambda: nodes.in_transit == 0)


async def test_unacknowledged_at_one_sent_again_by_the_other(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    assert await a.submit(push(wants_ack=True)) == [State.AWAITING_ACK]
    a.disconnect(device)
    device = await b.connect()
    assert device.events == [b"x"]
    assert b.router.acks.acknowledge("aa", "x")
    await b.router.commit()
    assert (await nodes.rows("aa"), nodes.in_transit) == (0, 0)


@pytest.fixture
def clock() -> MockClock:
    """The nodes' clock: a test can have it go more slowly, to do something in time."""
    return MockClock(rate=1)


#: at which nothing takes long
SLOW = 0.02


async def test_delayed_fires_once_wherever_the_device_is(
    clock: MockClock, nodes: Nodes, a, b
) -> None:
    clock.rate = SLOW
    now = nodes.clock.wall()
    pushes = [push(b"1", not_before=now + 0.4), push(b"2", not_before=now + 0.8, ttl_s=0)]
    assert await a.submit(*pushes) == [State.DELAYED] * 2
    device = await b.connect()
    assert device.events == []
    clock.rate = 1
    await until(lambda: device.events == [b"1", b"2"])
    await trio.sleep(1)
    assert device.events == [b"1", b"2"]
    await b.router.commit()
    assert (await nodes.rows("aa"), nodes.in_transit) == (0, 0)


async def test_delayed_without_a_device(nodes: Nodes, a, b) -> None:
    now = nodes.clock.wall()
    await a.submit(push(b"1", not_before=now + 0.2), push(b"2", not_before=now + 0.2, ttl_s=0))
    await until(lambda: a.count(State.DISCARDED) + b.count(State.DISCARDED) == 1)
    assert (await a.connect()).events == [b"1"]


async def test_expires_without_a_device(clock: MockClock, nodes: Nodes, a, b) -> None:
    clock.rate = SLOW
    ttl_s = nodes.clock.wall() - T0 + 0.3
    assert await a.submit(push(ttl_s=ttl_s)) == [State.STORED]
    clock.rate = 1
    await until(lambda: a.count(State.EXPIRED) + b.count(State.EXPIRED) == 1)
    assert nodes.in_transit == 0


async def test_resumes_at_the_other_node(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"), push(b"3"))
    first = device.seqs[0]
    a.disconnect(device)
    await a.submit(push(b"4"))
    device = await b.connect(cursor=Cursor(a.name, first))
    assert device.events == [b"2", b"3", b"4"]
    [sync] = device.fields(b"data", b"sync_result")
    assert b'"recovered":true' in sync
    # and once more, with what it has from there
    b.disconnect(device)
    device = await a.connect(cursor=Cursor(b.name, device.seqs[0]))
    assert device.events == [b"3", b"4"]


async def says(node: OneNode, device: FakeDevice, last_seen: Cursor | int | str) -> bool:
    """A device that is connected already says what it has; whether it misses nothing then."""
    told = len(device.fields(b"data", b"sync_result"))
    if not node.engine.resume(device, last_seen, device.mark):
        assert isinstance(last_seen, Cursor)
        node.router.resume(device, last_seen, before=device.mark)
    await until(lambda: len(device.fields(b"data", b"sync_result")) > told)
    return b'"recovered":true' in device.fields(b"data", b"sync_result")[-1]


async def test_says_later_where_it_has_been(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    first = device.seqs[0]
    a.disconnect(device)
    device = await b.connect()
    assert await says(b, device, Cursor(a.name, first))
    assert device.events == [b"2"]
    assert not await says(b, device, Cursor("gone", 1))


@pytest.mark.parametrize(("by", "recovered"), [("id", True), ("number", True), ("nonsense", False)])
async def test_says_later_what_it_has_but_not_from_where(
    nodes: Nodes, a, b, c, by: str, recovered: bool
) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    last_seen = {"id": "1", "number": device.seqs[0], "nonsense": "?"}[by]
    a.disconnect(device)
    device = await c.connect()
    await c.submit(push(b"3"))
    c.disconnect(device)
    device = await b.connect()
    await b.submit(push(b"4"))
    assert await says(b, device, last_seen) is recovered
    await until(lambda: device.events == [b"4", *([b"2", b"3"] if recovered else [])])


async def test_what_it_was_sent_on_connections_that_it_never_read(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    seen = Cursor(a.name, device.seqs[0])
    a.disconnect(device)
    for node, payload in (b, b"3"), (a, b"4"), (b, b"5"), (b, b"6"):
        device = await node.connect(cursor=seen)
        await node.submit(push(payload))
        assert device.events[-1] == payload
        node.disconnect(device)
        await node.engine.tokens.settle()
    for node in a, b:
        device = await node.connect(cursor=seen)
        assert device.events == [b"2", b"3", b"4", b"5", b"6"]
        assert b'"recovered":true' in device.fields(b"data", b"sync_result")[0]
        node.disconnect(device)


async def test_nobody_is_asked_twice_for_what_is_known_by_now(
    nodes: Nodes, a, b, c, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    seen = Cursor(a.name, device.seqs[0])
    for node in b, a, b, c, b:
        await node.connect(cursor=seen)
    ask, asked = c.engine.post.ask, []

    async def note(node: str, question: Question) -> object:
        if not isinstance(question, Yield) or question.seq is not None:
            asked.append(node)
        return await ask(node, question)

    monkeypatch.setattr(c.engine.post, "ask", note)
    device = await c.connect(cursor=seen)
    assert device.events == [b"2"]
    assert asked == [a.name, b.name]


async def test_what_it_was_sent_on_its_first_connection(nodes: Nodes, a, b) -> None:
    start = Cursor(a.name, a.router.seq)
    device = await b.connect()
    await a.submit(push(b"1"))
    await until(lambda: device.events)
    b.disconnect(device)
    await b.engine.tokens.settle()
    device = await a.connect(cursor=start)
    assert device.events == [b"1"]
    assert b'"recovered":true' in device.fields(b"data", b"sync_result")[0]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_what_it_was_sent_by_a_node_that_is_gone(nodes: Nodes, a, b, c, how: str) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    seen = Cursor(a.name, device.seqs[0])
    a.disconnect(device)
    device = await c.connect(cursor=seen)
    await c.submit(push(b"3"))
    if how == "stop":
        await c.stop()
    else:
        c.kill()
        nodes.all.remove(c)
        await nodes.shared.leave(c.name)  # its lease runs out
    await until(lambda: len(b.engine.members.living) == 2)
    device = await b.connect(cursor=seen)
    assert device.events == ([b"2", b"3"] if how == "stop" else [b"2"])
    recovered = [b'"recovered":true' in each for each in device.fields(b"data", b"sync_result")]
    assert recovered == [how == "stop"]
    # what comes from now on is known again
    await b.submit(push(b"4"))
    seen = Cursor(b.name, device.seqs[-1])
    b.disconnect(device)
    device = await b.connect(cursor=seen)
    assert b'"recovered":true' in device.fields(b"data", b"sync_result")[0]


async def test_resumes_where_a_node_has_ended(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"), push(b"now", ttl_s=0))
    first = device.seqs[0]
    await a.stop()
    await until(lambda: not b.engine.members.others)
    device = await b.connect(cursor=Cursor(a.name, first))
    assert device.events == [b"2"]
    assert b'"recovered":true' in device.fields(b"data", b"sync_result")[0]
    for last_seen, missed in ("1", 1), (first, 1), ("2", 0), ("never", None):
        device = await b.connect("aa")
        assert await says(b, device, last_seen) is (missed is not None)
        assert device.events == [b"2"] * (missed or 0)


async def test_resumes_where_nothing_was_sent_by_a_node_that_has_ended(nodes: Nodes, a, b) -> None:
    start = Cursor(b.name, b.router.seq)
    await a.connect()
    await a.stop()
    await until(lambda: not b.engine.members.others)
    device = await b.connect(cursor=start)
    assert b'"recovered":true' in device.fields(b"data", b"sync_result")[0]


async def test_no_more_is_left_behind_than_there_is_room_for(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_push.engine.recollection.BEHIND_BYTES", 400)
    monkeypatch.setattr("trio_push.engine.recollection.ROUND", 1)
    tokens = [f"{n:02x}" for n in range(8)]
    for token in tokens:
        await a.connect(token)
        await a.submit(push(b"1", token=token))
    await a.stop()
    left = [await nodes.shared.left_behind(a.name, token) is not None for token in tokens]
    assert left == sorted(left)  # the latest
    assert 0 < sum(left) < len(tokens)


@pytest.mark.parametrize("unanswered", [LATE_TRIES - 1, LATE_TRIES])
async def test_a_node_that_is_too_busy_to_say_is_asked_again(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch, unanswered: int
) -> None:
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"))
    first = device.seqs[0]
    a.disconnect(device)
    device = await b.connect()
    ask, asked = b.engine.post.ask, []

    async def late(node: str, question: Question) -> object:
        asked.append(question)
        return None if len(asked) <= unanswered else await ask(node, question)

    monkeypatch.setattr(b.engine.post, "ask", late)
    is_told = unanswered < LATE_TRIES
    assert await says(b, device, Cursor(a.name, first)) is is_told
    assert device.events == ([b"2"] if is_told else [])
    assert asked == [Recollect("aa", first)] * LATE_TRIES


async def test_attached_late(nodes: Nodes, a, b) -> None:
    """As on a stream of HTTP/2, where others do not wait until everybody has been asked."""
    device = await a.connect()
    await a.submit(push(b"1"), push(b"2"), push(b"3", wants_ack=True))
    seen = Cursor(a.name, device.seqs[0])
    a.disconnect(device)
    await a.submit(push(b"4"))
    device, gone = FakeDevice("aa"), FakeDevice("aa")
    gone.close()
    for each in device, gone:
        b.engine.admit_late(each, None, seen, partial(b.router.attach, each, seen))
    await until(lambda: len(device.events) == 3)
    await b.submit(push(b"5"))
    assert device.events == [b"2", b"3", b"4", b"5"]
    [sync] = device.fields(b"data", b"sync_result")
    assert b'"recovered":true' in sync
    assert gone.taken == b""


async def test_resuming_acknowledges_what_the_other_node_sent(nodes: Nodes, a, b) -> None:
    device = await a.connect()
    await a.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    first = device.seqs[0]
    a.disconnect(device)
    await a.engine.tokens.settle()
    device = await b.connect(cursor=Cursor(a.name, first))
    assert device.events == [b"2"]
    assert b.count(State.ACKNOWLEDGED) == 1


async def test_the_inbox_of_a_dead_node_is_taken_over(nodes: Nodes, a, b) -> None:
    await b.connect()
    b.kill()
    assert await a.submit(push(b"1"), push(b"2", ttl_s=0)) == [State.QUEUED] * 2
    await nodes.shared.leave(b.name)  # its lease runs out
    await until(lambda: a.count(State.DROPPED_NODE_DIED) == 1)
    await until(lambda: a.count(State.HANDED_OVER) == 3)
    assert (await a.connect()).events == [b"1"]
    nodes.all.remove(b)


async def test_a_node_that_stops_leaves_everything(nodes: Nodes, a, b) -> None:
    await b.connect(room=0)
    assert await b.submit(push(b"1")) == [State.IN_FLIGHT]
    await b.stop()
    assert (await a.connect()).events == [b"1"]
    b.check()


@pytest.fixture
def is_back(nodes: Nodes, b: OneNode, monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Until it is set, what b did is not written down, and b does not renew its lease."""
    event = trio.Event()

    def hold_up(name: str) -> None:
        call = getattr(nodes.shared, name)

        async def late(node: str, *args: Any, **more: Any) -> Any:
            if node == b.name:
                await event.wait()
            return await call(node, *args, **more)

        monkeypatch.setattr(nodes.shared, name, late)

    for name in ("beat", "done", "write"):
        hold_up(name)
    return event


async def is_taken_for_dead(nodes: Nodes, a: OneNode, b: OneNode) -> None:
    await nodes.shared.leave(b.name)
    await until(lambda: b.name in a.engine.members.void)


async def test_what_came_to_a_node_that_was_taken_for_dead_is_known_to_have_ended_twice(
    nodes: Nodes, a, b, is_back: trio.Event
) -> None:
    device = await b.connect()
    assert await a.submit(push(b"1"), push(b"2", ttl_s=0)) == [State.QUEUED] * 2
    await until(lambda: device.events == [b"1", b"2"])
    await is_taken_for_dead(nodes, a, b)
    await until(lambda: a.count(State.DROPPED_NODE_DIED) == 1)
    is_back.set()
    await until(lambda: b.node.ledger.repeated == 2)
    await until(lambda: device.events == [b"1", b"2", b"1"])
    await until(lambda: nodes.in_transit == 0)


async def test_what_a_node_that_was_taken_for_dead_held_is_known_to_have_ended_twice(
    nodes: Nodes, a, b, is_back: trio.Event
) -> None:
    assert await a.submit(push(b"1"), push(b"2")) == [State.STORED] * 2
    assert (await b.connect()).events == [b"1", b"2"]
    await is_taken_for_dead(nodes, a, b)
    assert (await a.connect()).events == [b"1", b"2"]
    is_back.set()
    await until(lambda: b.node.ledger.repeated == 2)
    await until(lambda: nodes.in_transit == 0)
    assert await nodes.rows("aa") == 0


async def test_a_claim_that_is_done_late_does_no_harm(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no answer, the device went to the other node, and then Redis did it."""
    claim = nodes.shared.claim

    async def unanswered(node: str, *args: Any, **more: Any) -> Any:
        if node == b.name:
            raise StoreFailed("no answer")
        return await claim(node, *args, **more)

    monkeypatch.setattr(nodes.shared, "claim", unanswered)
    b.disconnect(await b.connect())
    monkeypatch.setattr(nodes.shared, "claim", claim)
    device = await a.connect()
    await claim(b.name, ["aa"], void=(), renew=False, now=nodes.clock.wall())
    assert await b.submit(push(b"1")) == [State.STORED]
    await until(lambda: device.events == [b"1"])
    assert await b.submit(push(b"2")) == [State.QUEUED]
    await until(lambda: device.events == [b"1", b"2"])


async def test_a_node_that_ends_leaves_nothing_to_be_done_again(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = nodes.shared.done

    async def slow(*args: Any, **more: Any) -> Any:
        await trio.sleep(0.2)
        return await done(*args, **more)

    monkeypatch.setattr(nodes.shared, "done", slow)
    device = await b.connect()
    assert await a.submit(push(b"1")) == [State.QUEUED]
    await until(lambda: device.events == [b"1"])
    await b.stop()
    assert nodes.in_transit == 0
    assert await nodes.shared.receive(b.name, "", wait=False) == []


async def test_a_node_that_was_taken_for_dead_comes_back(nodes: Nodes, a, b) -> None:
    here, gone = await b.connect("aa"), await b.connect("bb")
    await nodes.shared.leave(b.name)
    await a.engine.members.beat()
    moved = await a.connect("bb")
    await until(lambda: gone.is_closed)
    await until(lambda: b.name in a.engine.members.living)
    assert await a.submit(push(token="aa"), push(token="bb")) == [
        State.QUEUED,
        State.DELIVERED_LIVE,
    ]
    await until(lambda: here.events == moved.events == [b"x"])


async def test_what_waits_for_a_device_that_is_coming_does_not_fail_with_the_others(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in other hands by then, and would be answered for, and counted, twice."""
    there = await b.connect("bb")

    async def fails(messages: Any) -> None:
        raise StoreFailed("cut off")

    outcomes: list[State] = []

    async def submit() -> None:
        outcomes.extend(await a.submit(push(b"1", token="aa"), push(b"2", token="bb")))

    async with trio.open_nursery() as nursery:
        with a.engine.tokens.admitting("aa"):
            monkeypatch.setattr(a.engine.shared, "send", fails)
            nursery.start_soon(submit)
            await until(lambda: a.count(State.LOST))
            device = FakeDevice("aa")
            a.router.attach(device)
    assert (device.events, there.events) == ([b"1"], [])
    assert outcomes == [State.DELIVERED_LIVE, State.LOST]
    assert a.books["accepted"] == 2
    nodes.check()


async def test_what_comes_from_another_node_waits_until_it_can_be_written_down(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its device has it, and may have acknowledged it: it is neither undone nor done again."""
    device = await a.connect()
    shared = a.engine.shared
    write, tries = shared.write, []

    async def fails(node: str, *args: Any, **more: Any) -> Any:
        if node != a.name or len(tries) == 2:
            return await write(node, *args, **more)
        tries.append(device.events)
        if len(tries) == 1:
            assert a.router.acks.acknowledge("aa", "1")
        raise StoreFailed("cut off")

    monkeypatch.setattr(shared, "write", fails)
    some = [push(b"1", id="1", wants_ack=True), push(b"2", id="2", wants_ack=True)]
    assert await b.submit(*some) == [State.QUEUED] * 2
    await until(lambda: len(tries) == 2)
    assert a.engine.post._in_hand
    await until(lambda: not a.engine.post._in_hand)
    assert device.events == [b"1", b"2"]
    counts = {state: a.count(state) for state in State if a.count(state)}
    assert counts == {State.ACKNOWLEDGED: 1, State.AWAITING_ACK: 1}
    assert (await nodes.rows("aa"), nodes.in_transit) == (1, 0)


async def test_who_goes_again_while_others_are_let_go_of_has_not_left_yet(
    nodes: Nodes, a, b, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was given meanwhile is not written down: another node would give it once more."""
    tokens, let_go = a.engine.tokens, a.engine.shared.let_go
    device, other = await a.connect("aa"), await a.connect("bb")

    async def slow(node: str, some: list[str], *, now: float) -> None:
        await let_go(node, some, now=now)
        if some == ["bb"]:
            a.disconnect(device)

    monkeypatch.setattr(a.engine.shared, "let_go", slow)
    tokens.left("aa")  # it has gone, and is back
    a.disconnect(other)
    await until(lambda: device.closed)
    await until(lambda: tokens.has_left("aa"))
    assert await nodes.shared.owners(["aa"]) == [None]
