from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.fakes import TRANSPORT, push
from trio_push.devices.connection import Connection
from trio_push.mailbox.mailbox import Mailbox
from trio_push.push import Numbered
from trio_push.sockets import WOULD_BLOCK


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield Connection("ab" * 32, ours, TRANSPORT, 0.0), theirs


Pair = tuple[Connection, socket.socket]


async def test_sends_what_goes_and_waits_for_the_rest(pair: Pair) -> None:
    connection, theirs = pair
    sent = 0
    with pytest.raises(WOULD_BLOCK):
        while True:
            sent += connection.send(b"x" * 10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.wait_writable)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        while sent > 0:
            sent -= len(theirs.recv(100_000))
    assert connection.send(b"more") == 4


async def test_close_wakes_who_waits(pair: Pair) -> None:
    connection, _ = pair
    woken = []

    async def wait(how: object) -> None:
        try:
            await how()  # type: ignore[operator]
        except trio.ClosedResourceError:
            woken.append(how)

    async def wait_readable() -> None:
        await trio.lowlevel.wait_readable(connection.sock)

    with pytest.raises(WOULD_BLOCK):
        while True:
            connection.send(b"x" * 10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, connection.wait_writable)
        nursery.start_soon(wait, wait_readable)
        await wait_all_tasks_blocked()
        connection.close()
    assert len(woken) == 2
    connection.close()
    assert connection.closed
    with pytest.raises(OSError):
        connection.send(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await connection.wait_writable()


@pytest.mark.parametrize(
    ("family", "host", "shown"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1:"), (socket.AF_INET6, "::1", "[::1]:")],
)
def test_remote(family: socket.AddressFamily, host: str, shown: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with listener, socket.create_connection(listener.getsockname()[:2]) as peer:
        sock, _ = listener.accept()
        connection = Connection("aa", sock, TRANSPORT, 0.0)
        assert connection.remote == shown + str(peer.getsockname()[1])
        connection.sock.close()
        assert connection.remote == ""


def test_queued(pair: Pair) -> None:
    connection, _ = pair
    assert connection.queued == 0
    connection.mailbox = Mailbox(3, 0)
    connection.mailbox.offer(Numbered(1, push()))
    assert connection.queued == 1
    assert repr(connection) == "<Connection sse abababab queued=1>"


def test_a_million_of_them_have_nothing_to_spare(pair: Pair) -> None:
    with pytest.raises(AttributeError):
        pair[0].more = 1  # type: ignore[attr-defined]
