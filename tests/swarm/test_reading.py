from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio

from trio_push.swarm.reading import Reading


class Listener:
    """A device that reads until its peer has gone."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.heard: list[bytes] = []

    def read(self) -> bool:
        self.heard.append(self.ours.recv(100))
        return self.heard[-1] != b""


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    listeners = [Listener() for _ in range(3)]
    yield listeners
    for each in listeners:
        each.ours.close()
        each.theirs.close()


async def until_ended(reading: Reading, listener: Listener) -> None:
    try:
        await reading.wait(listener, listener.ours)
    finally:
        reading.forget(listener.ours)


async def test_reads_for_all_until_each_has_ended(
    listeners: list[Listener], nursery: trio.Nursery
) -> None:
    reading, ended = Reading(), []
    nursery.start_soon(reading.run)

    async def note_end(n: int) -> None:
        await until_ended(reading, listeners[n])
        ended.append(n)

    for n in range(3):
        nursery.start_soon(note_end, n)
    await trio.testing.wait_all_tasks_blocked()
    for said in (b"1", b"2"):
        for each in listeners:
            each.theirs.send(said)
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert [each.heard for each in listeners] == [[b"1", b"2"]] * 3
    for n in (1, 0):
        listeners[n].theirs.close()
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert ended == [1, 0]


async def test_nobody_is_read_for_who_was_cancelled(
    listeners: list[Listener], nursery: trio.Nursery
) -> None:
    """Not even in the turn of the loop in which it was, and when its stream has ended in it."""
    reading = Reading()
    cancelled, other, _ = listeners
    scope = trio.CancelScope()

    async def wait() -> None:
        with scope:
            try:
                await reading.wait(cancelled, cancelled.ours)
            finally:
                # what it waits for next is none of our business
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.02)
                reading.forget(cancelled.ours)

    nursery.start_soon(wait)
    nursery.start_soon(until_ended, reading, other)
    await trio.testing.wait_all_tasks_blocked()
    cancelled.theirs.close()
    other.theirs.send(b"1")
    scope.cancel()
    nursery.start_soon(reading.run)
    while not other.heard:
        await trio.lowlevel.checkpoint()
    assert other.heard == [b"1"]
    assert cancelled.heard == []


async def test_many_give_way(nursery: trio.Nursery) -> None:
    """Others get a turn before all have been read."""
    reading, turns = Reading(), 0
    crowd = [Listener() for _ in range(250)]
    for each in crowd:
        nursery.start_soon(until_ended, reading, each)
    await trio.testing.wait_all_tasks_blocked()
    for each in crowd:
        each.theirs.send(b"1")
    nursery.start_soon(reading.run)
    while not all(each.heard for each in crowd):
        turns += 1
        await trio.lowlevel.checkpoint()
    assert turns > 2
    for each in crowd:
        each.theirs.close()
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked(0.02)
    for each in crowd:
        each.ours.close()
