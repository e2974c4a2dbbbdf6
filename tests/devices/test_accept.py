"""Accepting from a listener whose accept() fails as the test says."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_push.devices.accept import BATCH, PAUSE_MAX_S, PAUSE_S, Acceptor


class Listener(socket.socket):
    """A listening socket at which somebody always waits; accept() fails with each errno first."""

    def __init__(self) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.setblocking(False)
        self.errors: list[int] = []
        #: trio time of each accept()
        self.times: list[float] = []
        self._peers = [socket.create_connection(self.getsockname())]

    def knock(self, times: int) -> None:
        self._peers += [socket.create_connection(self.getsockname()) for _ in range(times)]

    def accept(self) -> tuple[socket.socket, object]:
        self.times.append(trio.current_time())
        if self.errors:
            raise OSError(self.errors.pop(0), "as the test says")
        return super().accept()

    def close(self) -> None:
        for peer in getattr(self, "_peers", []):
            peer.close()
        super().close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


Start = Callable[[], Acceptor]


@pytest.fixture
def start(listener: Listener, nursery: trio.Nursery) -> Start:
    async def serve(sock: socket.socket) -> None:
        with sock:
            await trio.lowlevel.checkpoint()

    def start() -> Acceptor:
        acceptor = Acceptor(listener, serve, nursery)
        nursery.start_soon(acceptor.run)
        return acceptor

    return start


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH])
async def test_a_connection_that_failed_by_itself_costs_no_time(
    autojump_clock: MockClock, listener: Listener, start: Start, error: int
) -> None:
    listener.errors = [error] * 3
    acceptor = start()
    await wait_all_tasks_blocked()
    assert acceptor.accepted == 1
    assert acceptor.failed == {}
    assert set(listener.times) == {0.0}


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, 9999])
async def test_want_of_something_is_counted_and_waited_for(
    autojump_clock: MockClock, listener: Listener, start: Start, error: int
) -> None:
    listener.errors = [error] * 10
    acceptor = start()
    await trio.sleep(10)
    assert acceptor.accepted == 1
    assert acceptor.failed == {errno.errorcode.get(error, "unknown"): 10}
    waits = [later - earlier for earlier, later in pairwise(listener.times)][:10]
    assert waits == pytest.approx([min(PAUSE_S * 2**n, PAUSE_MAX_S) for n in range(10)])


async def test_the_pause_begins_anew_after_an_accept(
    autojump_clock: MockClock, listener: Listener, start: Start
) -> None:
    listener.errors = [errno.EMFILE] * 3
    start()
    await trio.sleep(1)
    listener.times = []
    listener.errors = [errno.EMFILE] * 2
    listener.knock(1)
    await trio.sleep(1)
    assert listener.times[1] - listener.times[0] == pytest.approx(PAUSE_S)


async def test_others_get_a_turn_between_batches(
    autojump_clock: MockClock, listener: Listener, start: Start
) -> None:
    listener.listen(6 * BATCH)
    listener.knock(5 * BATCH)
    acceptor = start()
    seen = []
    while acceptor.accepted <= 5 * BATCH:
        await trio.lowlevel.checkpoint()
        seen.append(acceptor.accepted)
    # Who of the two comes first in a turn is left to chance.
    assert all(later - earlier <= 2 * BATCH for earlier, later in pairwise(seen))
