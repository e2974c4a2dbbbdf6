"""The contract of what nodes share: the same in memory, in one Redis, and in a Redis Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import msgspec
import pytest
import trio

from tests.fakes import T0, push
from tests.redis import RedisCluster, redis_cluster, redis_server
from trio_push.engine.client import open_link
from trio_push.engine.contract import (
    ANY_DELAYED,
    LEFT_S,
    Claim,
    Drop,
    HeldRow,
    RequestId,
    Setting,
    Shared,
    Stored,
    Swept,
    Taken,
    Written,
)
from trio_push.engine.memory import MemoryShared
from trio_push.engine.redis import RedisShared
from trio_push.push import Push, State

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with redis_cluster() as cluster:
        yield cluster


@pytest.fixture(params=["memory", "redis", "cluster"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    if request.param == "memory":
        yield MemoryShared()
        return
    if request.param == "cluster":
        cluster = request.getfixturevalue("cluster")
        async with open_link(cluster.url) as link:
            yield RedisShared(link, f"t{uuid4()}")
        return
    with redis_server() as server:
        async with open_link(server.url) as link:
            yield RedisShared(link, "t")


def row(payload: bytes = b"1", uid: str = "a:1", state: State = State.STORED, **more) -> HeldRow:
    return HeldRow(uid, push(payload, **more), state, uid)


async def store(shared: Shared, *rows: HeldRow, void=(), force=False, per_token=5) -> list[Stored]:
    return await shared.store("a", rows, void=void, per_token=per_token, force=force, now=T0)


async def claim(
    shared: Shared, node: str, *tokens: str, void=(), renew=False, now=T0
) -> list[Claim]:
    return await shared.claim(node, tokens, void=void, renew=renew, now=now)


async def sweep(shared: Shared, token: str = "aa", *, now: float, void=()) -> Swept:
    return await shared.sweep(range(shared.partitions), void=void, now=now, limit=100)


# -- nodes and their inboxes


async def test_nodes_see_each_other(shared: Shared) -> None:
    assert not (await shared.beat("a", 60)).was_alive
    beat = await shared.beat("b", 60)
    assert (beat.living, beat.dead) == ({"a", "b"}, set())
    assert (await shared.beat("a", 60)).was_alive
    await shared.leave("b")
    beat = await shared.beat("a", 60)
    assert (beat.living, beat.dead) == ({"a"}, {"b"})
    await shared.forget("b")
    assert (await shared.beat("a", 60)).dead == set()


async def test_a_lease_lapses(shared: Shared) -> None:
    await shared.beat("a", 0.001)
    await shared.beat("b", 60)
    await trio.sleep(0.01)
    assert (await shared.beat("b", 60)).dead == {"a"}
    assert not (await shared.beat("a", 60)).was_alive


async def test_an_inbox_keeps_what_is_not_done(shared: Shared) -> None:
    await shared.send({"a": b"1", "b": b"x"})
    await shared.send({"a": b"\xff\0"})
    [first, second] = await shared.receive("a", "")
    assert (first[1], second[1]) == (b"1", b"\xff\0")
    assert await shared.receive("a", first[0]) == [second]
    assert not await shared.done("a", [first[0]], inbox="a")
    assert await shared.receive("a", "") == [second]
    assert await shared.receive("a", second[0]) == []


async def test_each_message_is_taken_out_by_one(shared: Shared) -> None:
    for n in range(3):
        await shared.send({"a": str(n).encode()})
    first, second, third = [each for each, _ in await shared.receive("a", "")]
    for _ in range(2):  # whoever had no answer asks again
        assert not await shared.done("b", [first], inbox="a")
        assert not await shared.done("a", [second], inbox="a")
    assert await shared.done("b", [first, second], inbox="a") == [second]
    assert await shared.done("a", [first, second, third], inbox="a") == [first]
    assert await shared.receive("a", "") == []


async def test_one_takes_over(shared: Shared) -> None:
    assert await shared.take_over("a", "dead", 60)
    assert not await shared.take_over("b", "dead", 60)
    assert await shared.take_over("a", "dead", 60)


# -- settings


async def test_what_is_set(shared: Shared) -> None:
    assert await shared.settings() == (0, {})
    assert await shared.change({"f a": b"\xff 1", "f b": b""}, fresh=True) == 2
    assert await shared.change({"f b": b"2"}, fresh=True) == 3
    assert await shared.change({"f c": b"3", "f b": b"4"}, fresh=True) == 0
    assert await shared.change({"f a": b"5"}, fresh=False) == 4
    assert await shared.settings() == (4, {"f a": Setting(4, b"5"), "f b": Setting(3, b"2")})
    assert (await shared.beat("a", 60)).changed == 4


async def test_settings_hold_as_long_as_a_node_lives(shared: Shared) -> None:
    await shared.beat("a", 60, begins=True)
    await shared.change({"f a": b"1"}, fresh=False)
    assert (await shared.beat("b", 60, begins=True)).changed == 1
    await shared.leave("a")
    await shared.beat("c", 60, begins=True)
    await shared.leave("b")
    await shared.leave("c")
    # who was cut off for so long is no new one
    assert (await shared.beat("b", 60)).changed == 1
    await shared.leave("b")
    assert (await shared.beat("d", 60, begins=True)).changed == 2
    assert await shared.settings() == (2, {})


async def test_what_a_node_leaves_behind(shared: Shared) -> None:
    await shared.leave_behind("a", {})
    await shared.leave_behind("a", {"aa": b"\0", "bb": b"2"})
    await shared.leave_behind("a", {"cc": b"3"})
    found = [await shared.left_behind("a", token) for token in ("aa", "bb", "cc", "dd")]
    assert found == [b"\0", b"2", b"3", None]
    assert await shared.left_behind("b", "aa") is None
    await shared.leave_behind("a", {"cc": b"4"}, others=b"nothing")
    found = [await shared.left_behind("a", token) for token in ("aa", "cc", "dd", "ee")]
    assert found == [b"\0", b"4", b"nothing", b"nothing"]


# -- tokens


async def test_the_newest_claim_wins(shared: Shared) -> None:
    assert await claim(shared, "a", "aa", "bb") == [Claim(), Claim()]
    assert await claim(shared, "b", "aa") == [Claim("a", last="a")]
    assert await shared.owners(["bb", "aa", "cc"]) == ["a", "b", None]


async def test_who_renews_gives_way_to_the_living(shared: Shared) -> None:
    await claim(shared, "a", "aa")
    await store(shared, row(), force=True)
    assert await claim(shared, "b", "aa", renew=True) == [Claim("a", refused=True)]
    assert await claim(shared, "b", "aa", renew=True, void={"a"}) == [
        Claim(rows=(row(),), last="a")
    ]
    assert await claim(shared, "b", "aa", renew=True) == [Claim(rows=(row(),))]
    assert await shared.owners(["aa"]) == ["b"]


async def test_only_the_owner_lets_go(shared: Shared) -> None:
    await claim(shared, "a", "aa", "bb")
    await claim(shared, "b", "aa")
    await shared.let_go("a", ["aa", "bb", "cc"], now=T0)
    assert await shared.owners(["aa", "bb"]) == ["b", None]


async def test_who_had_it_last_is_known(shared: Shared) -> None:
    await claim(shared, "a", "aa")
    await shared.let_go("a", ["aa"], now=T0)
    assert await claim(shared, "a", "aa") == [Claim()]
    await shared.let_go("a", ["aa"], now=T0)
    assert await claim(shared, "b", "aa", "bb") == [Claim(last="a"), Claim()]
    await shared.let_go("b", ["aa"], now=T0 + LEFT_S)
    assert await claim(shared, "c", "aa", now=T0 + 2 * LEFT_S) == [Claim(last="b")]


# -- rows


async def test_held_for_who_comes_in_the_order_of_numbers(shared: Shared) -> None:
    rows = [row(b"2", "a:20"), row(b"1", "b:3"), row(b"3", "a:100"), row(b"4", "a:7", token="bb")]
    assert await store(shared, *rows) == [Stored(State.STORED)] * 4
    [first, second] = await claim(shared, "b", "aa", "bb")
    assert [each.push.payload for each in first.rows] == [b"1", b"2", b"3"]
    assert second.rows == (rows[3],)
    assert await shared.rows(["bb"]) == [[rows[3]]]


async def test_a_row_is_what_it_was(shared: Shared) -> None:
    whole = Push(
        "id with spaces", "aa", b"\xff\n\0", "topic", "c d", 5, T0 + 9.5, 0.0, "event", False, True
    )
    held = HeldRow("a:1", whole, State.AWAITING_ACK, "b:17")
    await store(shared, held)
    assert (await claim(shared, "a", "aa"))[0].rows == (held,)


async def test_not_without_its_owner_knowing(shared: Shared) -> None:
    await claim(shared, "b", "aa")
    assert await store(shared, row()) == [Stored(None, "b")]
    assert await store(shared, row(ttl_s=0)) == [Stored(None, "b")]
    assert await store(shared, row(), void={"b"}) == [Stored(State.STORED)]
    assert await store(shared, row(b"2", "a:2"), force=True) == [Stored(State.STORED)]


async def test_what_is_not_to_be_stored(shared: Shared) -> None:
    assert await store(shared, row(ttl_s=0)) == [Stored(State.DISCARDED)]
    assert await shared.rows(["aa"]) == [[]]


async def test_the_newest_of_a_slot(shared: Shared) -> None:
    old, new = (row(b"x", f"a:{n}", newest_wins=True) for n in (1, 2))
    assert await store(shared, old, old) == [Stored(State.STORED)] * 2
    assert await store(shared, new) == [Stored(State.STORED, replaced=True)]
    assert await shared.rows(["aa"]) == [[new]]
    assert await shared.take("x", None, void=()) == Taken(1)


async def test_full(shared: Shared) -> None:
    rows = [row(b"1", f"a:{n}", collapse_id=str(n)) for n in range(3)]
    stored = Stored(State.STORED)
    full = Stored(State.DROPPED_MAILBOX_FULL)
    assert await store(shared, *rows, per_token=2) == [stored, stored, full]
    newer = rows[0]._replace(uid="a:9")
    assert await store(shared, newer, per_token=2) == [stored._replace(replaced=True)]


async def test_the_journal_of_an_owner(shared: Shared) -> None:
    await claim(shared, "a", "aa")
    first, second = row(b"1", "a:1"), row(b"2", "a:2")
    assert await shared.write("a", [], [first, second], void=(), now=T0) == Written()
    drops = [Drop("aa", first.field, "a:1"), Drop("aa", second.field, "z:2")]
    changed = second._replace(state=State.AWAITING_ACK, number="a:5")
    assert await shared.write("a", drops, [changed], void=(), now=T0) == Written()
    assert await shared.rows(["aa"]) == [[changed]]


async def test_a_newer_push_puts_out_a_delayed_one(shared: Shared) -> None:
    delayed = [
        row(str(n).encode(), f"a:{n}", State.DELAYED, collapse_id=str(n), not_before=T0 + 5)
        for n in (1, 2, 3)
    ]
    await store(shared, *delayed)
    newer = row(b"new", "a:9", collapse_id="1")
    drops = [Drop("aa", delayed[1].field, ANY_DELAYED)]
    assert await shared.write("a", drops, [newer], void=(), now=T0) == Written(2)
    assert await shared.write("a", drops, [newer], void=(), now=T0) == Written()
    assert await shared.rows(["aa"]) == [[delayed[2], newer]]


async def test_a_journal_learns_that_the_device_has_moved(shared: Shared) -> None:
    await claim(shared, "b", "aa")
    await claim(shared, "c", "bb")
    rows = [row(), row(token="bb"), row(token="cc")]
    written = Written(moved=(("aa", "b"),))
    assert await shared.write("a", [], rows, void={"c"}, now=T0) == written
    assert await shared.rows(["aa"]) == [[rows[0]]]


async def test_a_node_that_could_not_be_asked_learns_what_was_taken(shared: Shared) -> None:
    rows = [row(str(n).encode(), f"a:{n}") for n in range(3)]
    await claim(shared, "a", "aa")
    await shared.write("a", [], rows, void=(), now=T0)
    assert await claim(shared, "b", "aa", void={"a"}) == [Claim(rows=tuple(rows), last="a")]
    drop = Drop("aa", rows[0].field, "a:0")
    for _ in range(2):
        written = await shared.write("a", [drop], [rows[1]], void=(), now=T0)
        assert (set(written.taken), written.moved) == ({"a:0", "a:1"}, (("aa", "b"),))
    # what it is given again is its own
    await shared.claim("a", ["aa"], void=(), renew=False, now=T0, silent={"aa": "b"})
    written = await shared.write("a", [Drop("aa", rows[1].field, "a:1")], [], void=(), now=T0)
    assert written == Written()
    drop = Drop("aa", rows[2].field, "a:2")
    assert (await shared.write("b", [drop], [], void=(), now=T0)).taken == ("a:2",)


@pytest.mark.parametrize("how", ["expired", "taken", "unregistered", "replaced"])
async def test_a_node_that_could_not_be_asked_learns_what_has_ended(
    shared: Shared, how: str
) -> None:
    held = row(b"x", newest_wins=True, ttl_s=5)
    await claim(shared, "a", "aa")
    await shared.write("a", [], [held], void=(), now=T0)
    match how:
        case "expired":
            assert await sweep(shared, now=T0 + 10, void={"a"}) == Swept(expired=1)
        case "taken":
            assert await shared.take("x", None, void={"a"}) == Taken(1)
        case "unregistered":
            assert await shared.unregister("aa", 5, void={"a"}) == Taken(1)
        case "replaced":
            newer = held._replace(uid="b:1")
            [stored] = await shared.store(
                "b", [newer], void={"a"}, per_token=5, force=False, now=T0
            )
            assert stored == Stored(State.STORED, replaced=True)
    written = await shared.write("a", [Drop("aa", held.field, held.uid)], [], void=(), now=T0)
    assert written.taken == (held.uid,)


async def test_due_without_an_owner(shared: Shared) -> None:
    delayed = row(state=State.DELAYED, not_before=T0 + 5)
    never = row(b"2", "a:2", State.DELAYED, not_before=T0 + 5, ttl_s=0)
    assert await store(shared, delayed, never) == [Stored(State.DELAYED)] * 2
    assert (await claim(shared, "b", "aa"))[0].rows == ()
    await shared.let_go("b", ["aa"], now=T0)
    assert await sweep(shared, now=T0 + 4) == Swept()
    assert await sweep(shared, now=T0 + 5) == Swept(discarded=1)
    assert await sweep(shared, now=T0 + 5) == Swept()
    assert (await claim(shared, "b", "aa"))[0].rows == (delayed._replace(state=State.STORED),)


async def test_due_for_an_owner_who_is_told_until_it_takes_it(shared: Shared) -> None:
    never = row(b"2", "a:2", State.DELAYED, not_before=T0 + 5, ttl_s=0)
    await store(shared, row(state=State.DELAYED, not_before=T0 + 5), never)
    await claim(shared, "b", "aa")
    assert set((await sweep(shared, now=T0 + 6)).due) == {("aa", "b")}
    assert await sweep(shared, now=T0 + 7) == Swept()
    assert set((await sweep(shared, now=T0 + 12)).due) == {("aa", "b")}
    [found] = await claim(shared, "b", "aa", renew=True)
    assert [each.state for each in found.rows] == [State.STORED] * 2
    assert await sweep(shared, now=T0 + 20) == Swept()


async def test_expired(shared: Shared) -> None:
    await store(
        shared,
        row(ttl_s=5),
        row(b"2", "a:2", ttl_s=50),
        row(b"3", "a:3", State.DELAYED, ttl_s=5, not_before=T0 + 4),
        row(b"4", token="bb", ttl_s=5),
    )
    await claim(shared, "b", "bb")
    assert await sweep(shared, now=T0 + 10) == Swept(expired=2)
    assert [each.push.payload for each in (await shared.rows(["aa"]))[0]] == [b"2"]
    assert await shared.rows(["bb"]) == [[]]


async def test_taken_by_the_id_of_the_push(shared: Shared) -> None:
    await store(
        shared,
        row(b"x"),
        row(b"x", "a:2", State.DELAYED, token="bb", not_before=T0 + 5),
        row(b"x", token="cc"),
        row(b"xx", "a:9"),
    )
    await claim(shared, "b", "bb", "cc")
    assert await shared.take("x", None, void=()) == Taken(2, frozenset({"b"}))
    assert await shared.take("x", "aa", void={"b"}) == Taken(0)
    assert await shared.take("x", "cc", void={"b"}) == Taken(1)
    assert [len(rows) for rows in await shared.rows(["aa", "bb", "cc"])] == [1, 0, 0]


# -- tokens that get no pushes, and users


async def test_unregistered(shared: Shared) -> None:
    await store(shared, row(), row(b"2", "a:2", State.DELAYED, not_before=T0 + 5))
    await store(shared, row(token="bb"))
    await claim(shared, "b", "bb")
    assert await shared.unregister("aa", 5, void=()) == Taken(2)
    assert await shared.unregister("bb", 6, void=()) == Taken(0, frozenset({"b"}))
    await shared.unregister("aa", 7, void=())
    assert await shared.unregistered() == {"aa": 5, "bb": 6}
    assert await shared.rows(["aa", "bb"]) == [[], []]
    await shared.register("aa")
    assert await shared.unregistered() == {"bb": 6}


async def test_users(shared: Shared) -> None:
    assert await shared.enrol("ann", "aa", per_user=2)
    assert await shared.enrol("ann", "bb", per_user=2)
    assert await shared.enrol("ann", "aa", per_user=2)
    assert not await shared.enrol("ann", "cc", per_user=2)
    assert await shared.devices("ann") == ["aa", "bb"]
    assert await shared.enrol("bob", "bb", per_user=2)
    assert (await shared.devices("ann"), await shared.user_of("bb")) == (["aa"], "bob")
    await shared.leave_user("bb")
    assert (await shared.devices("bob"), await shared.user_of("bb")) == ([], None)


# -- ids of requests


async def take(shared: Shared, node: str, *ids: str, void=()) -> list[RequestId | None]:
    asked = [RequestId(id, b"print") for id in ids]
    return await shared.take_ids(node, asked, void=void, hold_s=60)


async def test_an_id_is_taken_once_and_answered_to_all(shared: Shared) -> None:
    assert await take(shared, "a", "x", "y") == [None, None]
    pending = RequestId("x", b"print")
    assert await take(shared, "b", "x", "z") == [pending, None]
    assert await take(shared, "a", "x") == [None], "its own it may take again"
    answer = RequestId("x", b"print", b'{"a b": 1}\n')
    await shared.answer_ids([answer, RequestId("y", b"print")], keep_s=60)
    assert await take(shared, "b", "x", "y") == [answer, None]
    assert await take(shared, "a", "x") == [answer]


async def test_an_id_of_a_dead_node_is_free(shared: Shared) -> None:
    await take(shared, "dead", "x", "y")
    await shared.answer_ids([RequestId("y", b"print", b"done")], keep_s=60)
    done = RequestId("y", b"print", b"done")
    assert await take(shared, "b", "x", "y", void=["dead"]) == [None, done]
    assert await take(shared, "c", "x", void=["dead"]) == [RequestId("x", b"print")]


async def test_ids_are_not_held_nor_kept_for_ever(shared: Shared) -> None:
    await shared.take_ids("a", [RequestId("x", b"")], void=(), hold_s=0.05)
    await shared.answer_ids([RequestId("y", b"", b"done")], keep_s=0.05)
    await trio.sleep(0.2)
    assert await take(shared, "b", "x", "y") == [None, None]


def test_fields_tell_slots_apart() -> None:
    pushes = [push(topic="t", newest_wins=True), push(topic="t", collapse_id="x"), push()]
    fields = {HeldRow("a:1", each, State.STORED, "a:1").field for each in pushes}
    assert len(fields) == 3
    assert msgspec.structs.replace(pushes[0], id="other").slot == pushes[0].slot
