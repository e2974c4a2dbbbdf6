"""The contract of a store: what is promised of pushes that wait, whatever they are held in.

Every store passes the first part; those that outlive the process pass the second as well,
whether it was stopped or killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.contract.world import SETTINGS, World
from tests.fakes import T0, push
from tests.redis import redis_server
from trio_push.engine.client import open_link
from trio_push.engine.contract import Shared
from trio_push.engine.memory import MemoryShared
from trio_push.engine.redis import RedisShared
from trio_push.errors import Refusal
from trio_push.mailbox.sqlite_file import NUMBERS
from trio_push.push import State
from trio_push.router.restore import RETURN_S


@pytest.fixture(params=["memory", "sqlite", "shared", "redis"])
async def world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> AsyncIterator[World]:
    """A running node; whatever a test does, books and file agree in the end."""
    path = tmp_path / "pushes.db" if request.param == "sqlite" else None
    async with _shared(request.param, autojump_clock) as shared:
        world = World(path, nursery, shared=shared)
        await world.start()
        yield world
        await world.check_file()
        await world.kill()


@asynccontextmanager
async def _shared(kind: str, clock: MockClock) -> AsyncIterator[Shared | None]:
    """What the node shares with others, if it is one of several."""
    if kind == "shared":
        yield MemoryShared()
    elif kind == "redis":
        # The clock jumps only when Redis has had time to answer.
        clock.autojump_threshold = 0.05
        with redis_server() as server:
            async with open_link(server.url) as link:
                yield RedisShared(link, "t")
    else:
        yield None


durable = pytest.mark.parametrize("world", ["sqlite"], indirect=True)
#: the ways in which a process ends
ended = pytest.mark.parametrize("how", ["kill", "stop"])


# -- every store


async def test_stored_until_the_device_comes(autojump_clock: MockClock, world: World) -> None:
    assert await world.submit(push(b"1"), push(b"2")) == [State.STORED] * 2
    await world.check_file()
    assert (await world.come()).events == [b"1", b"2"]
    await world.check_file()
    assert (await world.come()).events == []


async def test_the_newest_of_a_slot(autojump_clock: MockClock, world: World) -> None:
    await world.submit(push(b"old", newest_wins=True), push(b"other", topic="t", newest_wins=True))
    await world.submit(push(b"new", newest_wins=True))
    await world.check_file()
    assert (await world.come()).events == [b"other", b"new"]
    assert world.count(State.COALESCED) == 1


async def test_delayed_until_it_is_due(autojump_clock: MockClock, world: World) -> None:
    device = await world.come()
    assert await world.submit(push(not_before=T0 + 5)) == [State.DELAYED]
    await world.check_file()
    await trio.sleep(4.9)
    assert device.events == []
    await trio.sleep(0.2)
    assert device.events == [b"x"]


async def test_due_without_a_device(autojump_clock: MockClock, world: World) -> None:
    await world.submit(push(not_before=T0 + 5), push(b"never", ttl_s=0, not_before=T0 + 5))
    await trio.sleep(6)
    await world.check_file()
    assert (await world.come()).events == [b"x"]
    assert world.count(State.DISCARDED) == 1


async def test_recalled(autojump_clock: MockClock, world: World) -> None:
    await world.submit(push(b"1"), push(b"2", not_before=T0 + 5), push(b"3"))
    assert [await world.node.everywhere.recall(each) for each in "12"] == [1, 1]
    await world.check_file()
    device = await world.come()
    await trio.sleep(6)
    assert device.events == [b"3"]


async def test_expires(autojump_clock: MockClock, world: World) -> None:
    await world.submit(push(b"1", ttl_s=3), push(b"2", ttl_s=30))
    await trio.sleep(5)
    await world.check_file()
    assert (await world.come()).events == [b"2"]


async def test_sent_until_it_is_acknowledged(autojump_clock: MockClock, world: World) -> None:
    device = await world.come()
    assert await world.submit(push(wants_ack=True)) == [State.AWAITING_ACK]
    await world.check_file()
    await trio.sleep(7)
    assert device.events == [b"x", b"x"]
    await world.check_file()
    world.disconnect(device)
    device = await world.come()
    assert device.events == [b"x"]
    assert world.router.acks.acknowledge("aa", "x")
    await world.check_file()
    await trio.sleep(20)
    assert device.events == [b"x"]


async def test_sent_again_to_a_device_that_takes_no_more(
    autojump_clock: MockClock, world: World
) -> None:
    await world.come()
    await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    device = await world.come(room=10)
    assert (world.count(State.IN_FLIGHT), world.count(State.STORED)) == (1, 1)
    await world.check_file()
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"1", b"2"]


async def test_acknowledged_by_resuming(autojump_clock: MockClock, world: World) -> None:
    device = await world.come()
    await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    assert (await world.come(seen=device.seqs[0])).events == [b"2"]
    await world.check_file()
    assert world.count(State.ACKNOWLEDGED) == 1


async def test_a_device_that_takes_no_more(autojump_clock: MockClock, world: World) -> None:
    """Torn, queued, beyond the mailbox, and back to the store when it is cut."""
    device = await world.come(room=10)
    states = await world.submit(*(push(b"%d" % n, wants_ack=n % 2 == 0) for n in range(5)))
    assert states == [State.IN_FLIGHT, State.QUEUED, State.QUEUED, State.STORED, State.STORED]
    await world.check_file()
    device.make_room(world.rest_of_one)
    await wait_all_tasks_blocked()
    assert device.events == [b"0"]
    await world.check_file()
    await trio.sleep(11)
    assert device.closed
    await world.check_file()
    # The first was sent again when it was not acknowledged in time, behind the others.
    assert (await world.come()).events == [b"1", b"2", b"3", b"4", b"0"]


async def test_expires_in_the_mailbox(autojump_clock: MockClock, world: World) -> None:
    device = await world.come(room=10)
    await world.submit(push(b"1"), push(b"2", ttl_s=3, wants_ack=True), push(b"3", wants_ack=True))
    await trio.sleep(5)
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"1", b"3"]


async def test_now_or_never_and_acknowledged(autojump_clock: MockClock, world: World) -> None:
    device = await world.come(room=10)
    await world.submit(push(b"1", ttl_s=0, wants_ack=True), push(b"2", ttl_s=0, wants_ack=True))
    await world.check_file()
    world.disconnect(device)
    await world.check_file()
    assert world.count(State.DISCARDED) == 2


async def test_a_newer_push_for_a_slot_that_is_in_flight(
    autojump_clock: MockClock, world: World
) -> None:
    await world.submit(push(b"old", newest_wins=True))
    device = await world.come(room=10)
    await world.submit(*(push(b"%d" % n, topic=f"{n}", newest_wins=True) for n in range(2)))
    await world.submit(push(b"new", newest_wins=True))
    await world.check_file()
    world.disconnect(device)
    await world.check_file()
    assert (await world.come()).events == [b"0", b"1", b"new"]


async def test_a_newer_push_for_a_slot_whose_older_one_arrives(
    autojump_clock: MockClock, world: World
) -> None:
    device = await world.come(room=10)
    slot = {"collapse_id": "c", "wants_ack": True}
    states = await world.submit(push(b"old", **slot), push(b"1"), push(b"2"), push(b"new", **slot))
    assert states[-1] is State.STORED
    device.make_room(world.rest_of_one)
    await wait_all_tasks_blocked()
    assert device.events == [b"old"]
    assert world.count(State.COALESCED) == 1
    await world.check_file()


async def test_unregistered(autojump_clock: MockClock, world: World) -> None:
    device = await world.come(room=10)
    await world.submit(push(b"1"), push(b"2", not_before=T0 + 5), push(b"3", wants_ack=True))
    await world.node.everywhere.unregister("aa")
    await world.check_file()
    assert device.closed
    assert world.count(State.RECALLED) == 3
    with pytest.raises(Refusal):
        world.node.directory.check("aa")
    await world.node.everywhere.register("aa")
    world.node.directory.check("aa")


async def test_bounded_per_token(autojump_clock: MockClock, world: World) -> None:
    states = await world.submit(*(push(b"%d" % n) for n in range(6)), push(token="bb"))
    assert states == [State.STORED] * 5 + [State.DROPPED_MAILBOX_FULL, State.STORED]


async def test_a_broadcast_that_some_do_not_take(autojump_clock: MockClock, world: World) -> None:
    devices = [await world.come(token, room=room) for token, room in (("aa", None), ("bb", 0))]
    for n in range(4):
        counts = await world.router.broadcast(push(b"%d" % n, token=""))
        assert counts.total() == 2
        await world.check_file()
    world.disconnect(devices[1])
    await world.check_file()
    assert (await world.come("bb")).events == [b"0", b"1", b"2", b"3"]


# -- those that outlive the process


@durable
@ended
async def test_what_was_stored_is_stored(autojump_clock: MockClock, world: World, how: str) -> None:
    await world.submit(push(b"1"), push(b"2", topic="t", event="ping"), push(b"3", token="bb"))
    await world.restart(how)
    await world.check_file()
    assert world.stored() == [b"1", b"2"]
    device = world.connect()
    assert device.events == [b"1", b"2"]
    assert device.fields(b"data", b"ping") == [b"2"]
    assert world.node.ledger.restored == 3
    assert world.node.ledger.accepted == 0
    assert world.count(State.DELIVERED_ON_CONNECT) == 2
    await trio.sleep(0.2)
    await world.restart(how)
    assert world.connect("bb").events == [b"3"]
    assert world.connect("aa").events == []


@durable
@ended
async def test_newer_pushes_come_after_those_of_an_earlier_life(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    epoch = world.router.epoch
    device = world.connect()
    await world.submit(push(b"1"), push(b"2", token="bb"))
    await world.restart(how)
    await world.submit(push(b"3", token="bb"))
    again = world.connect("bb")
    assert again.events == [b"2", b"3"]
    assert again.seqs[1] > max(NUMBERS, *device.seqs, again.seqs[0])
    assert world.router.epoch == epoch


@durable
@ended
async def test_of_a_slot_the_newest_comes_back(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    await world.submit(push(b"old", newest_wins=True))
    device = world.connect(room=10)  # the old one is in flight
    await world.submit(*(push(b"%d" % n) for n in range(2)), push(b"new", newest_wins=True))
    await world.restart(how)
    await world.check_file()
    assert device.events == []
    assert world.stored()[-1] == b"new"
    assert b"old" not in world.stored()


@durable
@ended
async def test_delayed_pushes_keep_their_time(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    await world.submit(*(push(b"%d" % n, not_before=T0 + n) for n in (1, 5, 90)))
    await world.kill()
    await trio.sleep(3)
    await world.start()
    device = world.connect()
    await trio.sleep(0.5)
    assert device.events == [b"1"]
    await world.restart(how)
    device = world.connect()
    await trio.sleep(10)
    assert device.events == [b"5"]
    assert world.router.delayed("aa") == 1
    await world.restart(how)
    assert world.router.recall("90") == 1
    await world.router.commit()
    await world.restart(how)
    assert world.node.ledger.restored == 0


@durable
@ended
async def test_what_expired_meanwhile(autojump_clock: MockClock, world: World, how: str) -> None:
    await world.submit(push(b"1", ttl_s=3), push(b"2", ttl_s=30))
    await (world.kill() if how == "kill" else world.stop())
    await trio.sleep(5)
    await world.start()
    await world.check_file()
    assert world.count(State.EXPIRED) == 1
    assert world.stored() == [b"2"]
    await trio.sleep(30)
    assert world.count(State.EXPIRED) == 2


@durable
@ended
async def test_what_awaited_its_acknowledgement(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    world.connect()
    await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    world.router.acks.acknowledge("aa", "1")
    await world.router.commit()
    await world.restart(how)
    assert world.connect().events == [b"2"]
    assert world.router.acks.acknowledge("aa", "2")
    await world.router.commit()
    await world.restart(how)
    assert world.connect().events == []


@durable
@ended
async def test_acknowledged_by_resuming_in_another_life(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    device = world.connect()
    await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True))
    await world.restart(how)
    assert world.connect(seen=device.seqs[0]).events == [b"2"]
    assert world.count(State.ACKNOWLEDGED) == 1


@durable
@ended
async def test_acknowledged_without_coming_back(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """Its word may come by a request of its own."""
    world.connect()
    await world.submit(push(b"1", wants_ack=True))
    await world.restart(how)
    assert world.router.acks.acknowledge("aa", "1")
    await trio.sleep(20)
    assert world.connect().events == []


@durable
@ended
async def test_unacknowledged_waits_for_a_device_that_stays_away(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    world.connect()
    await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True, ttl_s=0))
    await world.restart(how)
    await trio.sleep(RETURN_S + 2)
    assert world.stored() == [b"1"]
    assert world.count(State.DISCARDED) == 1


@durable
@ended
async def test_promised_and_in_memory_only(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """A slow device has taken the beginning of the first and nothing of the second."""
    world.connect(room=10)
    states = await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True), push(b"3"))
    assert states == [State.IN_FLIGHT, State.QUEUED, State.QUEUED]
    await world.restart(how)
    live = [] if how == "kill" else [b"3"]  # at most once; a stop puts it back
    assert world.connect().events == [b"1", b"2", *live]


@durable
async def test_now_or_never_waits_for_its_acknowledgement_only_so_long(
    autojump_clock: MockClock, world: World
) -> None:
    world.connect(room=10)
    await world.submit(push(b"1", ttl_s=0, wants_ack=True), push(b"2", ttl_s=0, wants_ack=True))
    await world.restart("kill")
    assert world.count(State.AWAITING_ACK) == 2
    await trio.sleep(RETURN_S + 2)
    assert world.count(State.DISCARDED) == 2


@durable
@ended
async def test_a_broadcast_that_wants_its_acknowledgement(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    world.connect(room=10)
    await world.router.broadcast(push(token="", wants_ack=True))
    await world.restart(how)
    assert world.connect().events == [b"x"]


@durable
@ended
async def test_due_for_a_device_that_takes_no_more(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """Kept while they were delayed, they are kept in its mailbox too."""
    device = world.connect(room=10)
    await world.submit(*(push(b"%d" % n, not_before=T0 + n) for n in (1, 2, 3)))
    await trio.sleep(3.5)
    assert (world.count(State.IN_FLIGHT), world.count(State.QUEUED)) == (1, 2)
    await world.check_file()
    device.make_room(10)
    await wait_all_tasks_blocked()
    assert device.events == [b"1"]
    await world.check_file()
    await world.restart(how)
    assert world.connect().events == [b"2", b"3"]


@durable
async def test_in_flight_when_it_is_killed(autojump_clock: MockClock, world: World) -> None:
    await world.submit(push(b"1"), push(b"2"))
    device = world.connect(room=10)
    assert world.count(State.IN_FLIGHT) == 1
    await world.restart("kill")
    assert device.events == []
    assert world.connect().events == [b"1", b"2"]


@durable
async def test_a_delivery_that_was_not_written_down(
    autojump_clock: MockClock, world: World
) -> None:
    """It comes twice, unless the device says that it has it."""
    await world.submit(push(b"1"))
    device = world.connect()
    await world.restart("kill")
    assert world.stored() == [b"1"]
    assert world.connect(seen=device.seqs[0]).events == []
    await world.restart("kill")
    assert device.events == [b"1"]


@durable
@ended
async def test_a_delivery_is_written_down_soon(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    await world.submit(push(b"1"))
    world.connect()
    await trio.sleep(0.2)
    await world.restart(how)
    assert world.stored() == []


@durable
@ended
async def test_unregistered_tokens_stay_so(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    since = {token: world.router.unregister(token) for token in ("aa", "bb")}
    world.router.register("bb")
    await world.router.commit()
    await trio.sleep(5)
    await world.restart(how)
    with pytest.raises(Refusal) as caught:
        world.node.directory.check("aa")
    assert caught.value.timestamp_ms == since["aa"] == world.router.unregister("aa")
    world.node.directory.check("bb")


@durable
@ended
async def test_devices_stay_their_users(autojump_clock: MockClock, world: World, how: str) -> None:
    users = world.router.users
    for user, token in (("eve", "aa"), ("eve", "bb"), ("eve", "cc"), ("adam", "cc")):
        users.enrol(user, token)
    world.router.unregister("bb")
    await world.router.commit()
    await world.restart(how)
    assert world.router.users.tokens("eve") == ["aa"]
    assert world.router.users.tokens("adam") == ["cc"]


@durable
@ended
async def test_resuming_from_an_earlier_life_may_be_incomplete(
    autojump_clock: MockClock, world: World, how: str
) -> None:
    """What was delivered live is not in the file, so nobody knows."""
    device = world.connect()
    await world.submit(push(b"1"), push(b"2"))
    await world.restart(how)
    again = world.connect(seen=device.seqs[0])
    assert b'"recovered":false' in again.fields(b"data", b"sync_result")[0]
    await world.submit(push(b"3"))
    latest = world.connect(seen=again.seqs[-1])
    assert b'"recovered":true' in latest.fields(b"data", b"sync_result")[0]


async def test_what_is_held_at_the_end_is_lost_or_not(
    autojump_clock: MockClock, world: World
) -> None:
    await world.submit(push(b"1"), push(b"2", not_before=T0 + 5))
    await world.stop()
    assert world.lost == (0 if world.is_durable or world.is_shared else 2)
    await world.start()
    assert world.node.ledger.restored == (2 if world.is_durable else 0)


@durable
async def test_many(autojump_clock: MockClock, world: World) -> None:
    pushes = [push(b"%d" % n, token=f"{n:04x}") for n in range(2_500)]
    await world.submit(*pushes)
    await world.restart("kill")
    assert len(world.router._store) == 2_500
    await world.check_file()


@durable
async def test_bounds_hold_over_lives(
    autojump_clock: MockClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "_settings", replace(SETTINGS, store_total=6))
    await world.submit(*(push(b"%d" % n) for n in range(5)), push(b"6", token="bb"))
    await world.restart("kill")
    with pytest.raises(Refusal):
        world.router.check_room(push(token="cc"))
    assert await world.submit(push(b"7")) == [State.DROPPED_MAILBOX_FULL]
