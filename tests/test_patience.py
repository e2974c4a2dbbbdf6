from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from trio_push.patience import TICK_S, Patience, watch


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    """A socket on which nothing ever comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


async def waits_until_s(patience: Patience) -> float:
    """When the wait for its socket ends."""
    with pytest.raises(trio.ClosedResourceError):
        await trio.lowlevel.wait_readable(patience.sock)
    return trio.current_time()


@pytest.fixture
async def visitors(nursery: trio.Nursery) -> set[Patience]:
    visitors: set[Patience] = set()
    nursery.start_soon(watch, visitors)
    return visitors


@pytest.mark.parametrize("timeout_s", [0, 0.1, 3, 10.1])
async def test_ends_the_wait(
    autojump_clock: MockClock, visitors: set[Patience], sock: socket.socket, timeout_s: float
) -> None:
    visitors.add(patience := Patience(sock, timeout_s))
    assert timeout_s <= await waits_until_s(patience) <= timeout_s + TICK_S
    assert patience.ran_out


async def test_may_be_renewed(
    autojump_clock: MockClock, visitors: set[Patience], sock: socket.socket, nursery: trio.Nursery
) -> None:
    visitors.add(patience := Patience(sock, 5))

    async def renew() -> None:
        await trio.sleep(4)
        patience.allow(5)

    nursery.start_soon(renew)
    assert 9 <= await waits_until_s(patience) <= 9 + TICK_S


async def test_who_did_not_wait_is_woken_when_they_do(
    autojump_clock: MockClock, visitors: set[Patience], sock: socket.socket
) -> None:
    visitors.add(patience := Patience(sock, 1))
    await trio.sleep(5)
    assert patience.ran_out
    assert await waits_until_s(patience) <= 5 + TICK_S
    patience.allow(3)
    assert not patience.ran_out
    assert 8 <= await waits_until_s(patience) <= 8 + 2 * TICK_S


async def test_for_ever(
    autojump_clock: MockClock, visitors: set[Patience], sock: socket.socket
) -> None:
    visitors.add(patience := Patience(sock, 1))
    patience.allow_for_ever()
    with trio.move_on_after(1_000):
        await trio.lowlevel.wait_readable(sock)
    assert not patience.ran_out


async def test_one_that_is_closed_harms_no_other(
    autojump_clock: MockClock, visitors: set[Patience], sock: socket.socket
) -> None:
    gone = socket.socket()
    gone.close()
    visitors.update([Patience(gone, 1), patience := Patience(sock, 2)])
    assert await waits_until_s(patience) <= 2 + TICK_S
