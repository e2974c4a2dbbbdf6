"""A reply waits for the disk; what a full disk does not take is refused, and all else goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.contract.world import World
from tests.fakes import T0, push
from trio_push.errors import Refusal
from trio_push.mailbox.group_commit import FLUSH_S, RETRY_S
from trio_push.push import Push, State

#: time after which a disk that has room again has been tried again
RECOVERED_S = RETRY_S + 2 * FLUSH_S


@pytest.fixture
async def world(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> AsyncIterator[World]:
    world = World(tmp_path / "pushes.db", nursery)
    await world.start()
    yield world
    world.disk.is_full = False
    world.disk.gate.set()
    await trio.sleep(RECOVERED_S)
    await world.check_file()
    await world.kill()


class Submitted:
    """A submission under way."""

    def __init__(self, world: World, nursery: trio.Nursery, *pushes: Push) -> None:
        self.states: list[State] | None = None
        nursery.start_soon(self._submit, world, pushes)

    async def _submit(self, world: World, pushes: tuple[Push, ...]) -> None:
        self.states = await world.submit(*pushes)


# -- replies wait


@pytest.mark.parametrize(
    ("waits", "push"),
    [
        pytest.param(True, push(token="cc"), id="stored"),
        pytest.param(True, push(not_before=T0 + 5), id="delayed"),
        pytest.param(True, push(not_before=T0 + 5, ttl_s=0), id="delayed, now or never"),
        pytest.param(True, push(wants_ack=True), id="awaits its acknowledgement"),
        pytest.param(True, push(token="bb", wants_ack=True), id="in flight, wants an ack"),
        pytest.param(False, push(), id="delivered"),
        pytest.param(False, push(token="bb"), id="in flight"),
        pytest.param(False, push(token="cc", ttl_s=0), id="discarded"),
    ],
)
async def test_a_reply_waits_for_what_it_promises(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery, waits: bool, push: Push
) -> None:
    world.connect("aa")
    world.connect("bb", room=10)
    world.disk.stall()
    submitted = Submitted(world, nursery, push)
    await wait_all_tasks_blocked()
    assert (submitted.states is None) == waits
    world.disk.gate.set()
    await wait_all_tasks_blocked()
    assert submitted.states is not None
    if not waits:
        await trio.sleep(1)
        assert world.disk.transactions == []


async def test_one_commit_for_all_that_wait(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.disk.stall()
    waiting = [Submitted(world, nursery, push(b"%d" % n, token=f"{n:02x}")) for n in range(50)]
    await wait_all_tasks_blocked()
    late = Submitted(world, nursery, push(token="ee"))
    await wait_all_tasks_blocked()
    live = Submitted(world, nursery, push(token="ff", ttl_s=0))
    await wait_all_tasks_blocked()
    assert live.states == [State.DISCARDED]
    assert {each.states and each.states[0] for each in (*waiting, late)} == {None}
    world.disk.gate.set()
    await wait_all_tasks_blocked()
    assert late.states == [State.STORED]
    assert [len(numbers) for numbers in world.disk.transactions] == [50, 1]


async def test_killed_before_the_commit_nobody_was_told(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.disk.stall()
    submitted = Submitted(world, nursery, push())
    await wait_all_tasks_blocked()
    await world.restart("kill")
    assert submitted.states is None
    assert world.stored() == []


async def test_commit_waits_for_what_was_done(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    await world.submit(push())
    world.router.recall("x")
    world.disk.stall()
    done = trio.Event()

    async def commit() -> None:
        await world.router.commit()
        done.set()

    nursery.start_soon(commit)
    await wait_all_tasks_blocked()
    assert not done.is_set()
    world.disk.gate.set()
    await done.wait()
    await world.router.commit()  # nothing to wait for


async def test_a_broadcast_waits_for_what_was_stored(
    autojump_clock: MockClock, world: World, nursery: trio.Nursery
) -> None:
    world.connect("aa", room=0)
    for n in range(3):
        await world.router.broadcast(push(b"%d" % n, token=""))
    world.disk.stall()
    with trio.move_on_after(1) as patience:
        await world.router.broadcast(push(token=""))
    assert patience.cancelled_caught


# -- a full disk


async def test_what_cannot_be_written_is_not_promised(
    autojump_clock: MockClock, world: World
) -> None:
    world.connect("aa")
    world.disk.is_full = True
    states = await world.submit(
        push(b"live"),
        push(b"stored", token="bb"),
        push(b"delayed", not_before=T0 + 5),
        push(b"acked", wants_ack=True),
        push(b"never", token="bb", ttl_s=0),
    )
    lost = State.LOST
    assert states == [State.DELIVERED_LIVE, lost, lost, lost, State.DISCARDED]
    assert world.count(State.LOST) == 3
    assert len(world.router._store) == 0
    world.check()


async def test_what_is_on_its_way_is_refused_and_goes_on(
    autojump_clock: MockClock, world: World
) -> None:
    """Its sender sends it again, and it comes twice: that is what `at least once` allows."""
    device = world.connect("aa", room=10)
    world.disk.is_full = True
    states = await world.submit(push(b"1", wants_ack=True), push(b"2", wants_ack=True), push(b"3"))
    assert states == [State.LOST, State.LOST, State.QUEUED]
    device.make_room(None)
    await wait_all_tasks_blocked()
    assert device.events == [b"1", b"2", b"3"]
    assert world.count(State.LOST) == 0


async def test_a_promise_is_kept_when_its_replacement_cannot_be(
    autojump_clock: MockClock, world: World
) -> None:
    await world.submit(push(b"old", newest_wins=True), push(b"older", collapse_id="c"))
    world.disk.is_full = True
    states = await world.submit(
        push(b"new", newest_wins=True),
        push(b"newer", collapse_id="c", not_before=T0 + 5),
        push(b"first", topic="t", newest_wins=True),
    )
    assert states == [State.LOST] * 3
    assert world.stored() == [b"new"]
    assert world.router.delayed("aa") == 1
    assert world.count(State.LOST) == 1
    await world.restart("kill")
    assert world.stored() == [b"old", b"older"]


async def test_while_it_is_known_to_fail_it_is_refused_at_the_door(
    autojump_clock: MockClock, world: World
) -> None:
    world.connect("aa")
    for each in (push(token="bb"), push()):
        world.router.check_room(each)
    world.disk.is_full = True
    await world.submit(push(token="bb"))
    for refused in (push(token="bb"), push(not_before=T0 + 5), push(wants_ack=True)):
        with pytest.raises(Refusal, match="cannot be written now: database or disk is full"):
            world.router.check_room(refused)
    for taken in (push(), push(token="bb", ttl_s=0)):
        world.router.check_room(taken)
    world.disk.is_full = False
    await trio.sleep(RECOVERED_S)
    world.router.check_room(push(token="bb"))
    assert await world.submit(push(token="bb")) == [State.STORED]


async def test_what_was_done_stays_done_and_is_written_later(
    autojump_clock: MockClock, world: World
) -> None:
    await world.submit(push(b"1"), push(b"2"), push(b"3"))
    world.disk.is_full = True
    world.router.recall("1")
    with pytest.raises(Refusal, match="done, but not written down yet: database or disk is full"):
        await world.router.commit()
    device = world.connect()
    assert device.events == [b"2", b"3"]
    world.disk.is_full = False
    await trio.sleep(RECOVERED_S)
    await world.restart("kill")
    assert world.stored() == []


async def test_a_broadcast_says_what_was_lost(autojump_clock: MockClock, world: World) -> None:
    world.connect("aa", room=0)
    world.connect("bb")
    for n in range(3):
        await world.router.broadcast(push(b"%d" % n, token=""))
    world.disk.is_full = True
    counts = await world.router.broadcast(push(token=""))
    assert counts == {State.DELIVERED_LIVE: 1, State.LOST: 1}


async def test_delayed_pushes_fall_due_all_the_same(
    autojump_clock: MockClock, world: World
) -> None:
    await world.submit(push(not_before=T0 + 5), push(b"y", not_before=T0 + 5, collapse_id="c"))
    world.disk.is_full = True
    await trio.sleep(7)
    assert world.stored() == [b"x", b"y"]
    await world.kill()
    await world.start()
    await trio.sleep(1)
    assert world.stored() == [b"x", b"y"]
