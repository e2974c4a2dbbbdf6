from __future__ import annotations

import socket

import trio
from trio.testing import wait_all_tasks_blocked

from trio_push.workers.link import CAPACITY, open_link
from trio_push.workers.messages import FromWorker, Hurry, Leaving, Reply, ToWorker


async def test_both_ends_say_and_hear() -> None:
    ours, theirs = socket.socketpair()
    async with open_link(ours, FromWorker) as parent, open_link(theirs, ToWorker) as worker:
        assert parent.send(Hurry())
        assert worker.send(Reply(1, b"x" * 1_000_000))
        async for message in worker:
            assert message == Hurry()
            break
        async for message in parent:
            assert message == Reply(1, b"x" * 1_000_000)
            break


async def test_the_last_words_are_heard_before_the_end() -> None:
    ours, theirs = socket.socketpair()
    async with open_link(ours, FromWorker) as parent:
        async with open_link(theirs, ToWorker) as worker:
            worker.send(Reply(1, b"x" * 100_000))
            worker.send(Leaving())
        assert [type(message) async for message in parent] == [Reply, Leaving]


async def test_a_peer_that_does_not_read_holds_up_nobody() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        async with open_link(ours, FromWorker) as parent:
            said = 0
            while parent.send(Reply(1, b"x" * 1_000_000)):
                said += 1
                await wait_all_tasks_blocked()
            assert CAPACITY <= said <= CAPACITY + 2
            start = trio.current_time()
        assert trio.current_time() - start < 10


async def test_nothing_can_be_said_to_one_that_is_gone() -> None:
    ours, theirs = socket.socketpair()
    async with open_link(ours, FromWorker) as parent:
        theirs.close()
        assert [message async for message in parent] == []
        while parent.send(Hurry()):
            await trio.sleep(0.01)
    assert not parent.send(Hurry())
