from __future__ import annotations

import select
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.serving import PATIENCE_S
from trio_push import sockets
from trio_push.tls import dev_context


class Pair:
    """Two ends of a TLS connection: ours, and a client's that insists on a proper end."""

    def __init__(self, ours: ssl.SSLSocket, theirs: ssl.SSLSocket) -> None:
        self.ours = ours
        self.theirs = theirs

    async def they_receive(self) -> bytes:
        """What they get next; raises ssl.SSLError when it is garbled, an alert or a cut."""
        return await trio.to_thread.run_sync(self.theirs.recv, 1024)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    context, ca_path = dev_context(tmp_path)
    trust = ssl.create_default_context(cafile=ca_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S)
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    ours = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
    connect = partial(
        trust.wrap_socket, client, server_hostname="localhost", suppress_ragged_eofs=False
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sockets.handshake, ours)
        theirs = await trio.to_thread.run_sync(connect)
    with ours, theirs:
        yield Pair(ours, theirs)


async def test_close_is_no_cut(pair: Pair) -> None:
    await sockets.send_all(pair.ours, b"last")
    sockets.close(pair.ours)
    assert await pair.they_receive() == b"last"
    assert await pair.they_receive() == b""


async def test_close_gently_is_no_cut(pair: Pair) -> None:
    await sockets.send_all(pair.ours, b"last")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sockets.close_gently, pair.ours)
        assert await pair.they_receive() == b"last"
        assert await pair.they_receive() == b""
        pair.theirs.close()


async def test_close_before_the_handshake() -> None:
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.setblocking(False)
    with theirs:
        sockets.close(context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False))
        assert theirs.recv(1024) == b""


async def test_what_is_sent_after_the_reading_stopped_is_encrypted(pair: Pair) -> None:
    await trio.to_thread.run_sync(pair.theirs.send, b"asked before")
    await sockets.receive_some(pair.ours, 5)
    sockets.stop_reading(pair.ours)
    assert await sockets.receive_some(pair.ours) == b" before"
    assert await sockets.receive_some(pair.ours) == b""
    await sockets.send_all(pair.ours, b"answered after")
    assert await pair.they_receive() == b"answered after"


@pytest.fixture
def plain() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection: ours, and theirs, which blocks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), timeout=PATIENCE_S)
        ours, _ = listener.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def test_a_reset_is_one(plain: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plain
    sockets.reset(ours)
    sockets.reset(ours)
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


async def test_a_reset_wakes_who_waits(plain: tuple[socket.socket, socket.socket]) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await sockets.receive_some(plain[0])

        await trio.testing.wait_all_tasks_blocked()
        sockets.reset(plain[0])


async def test_what_has_come_before_is_read_without_waiting(
    plain: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = plain
    theirs.send(b"early")
    assert select.select([ours], [], [], PATIENCE_S)[0]
    with trio.testing.assert_no_checkpoints():
        assert await sockets.receive_first(ours) == b"early"


async def test_what_has_not_come_is_waited_for(plain: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plain
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def speak() -> None:
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"late")

        assert await sockets.receive_first(ours) == b"late"


async def test_what_has_come_over_tls_before(pair: Pair) -> None:
    with trio.fail_after(PATIENCE_S):
        await trio.to_thread.run_sync(pair.theirs.send, b"early")
        assert await sockets.receive_first(pair.ours) == b"early"


async def test_who_has_left(plain: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = plain
    theirs.sendall(b"not read")
    assert not sockets.has_left(ours)
    theirs.close()
    with trio.fail_after(PATIENCE_S):
        while not sockets.has_left(ours):
            await trio.sleep(0.01)
    ours.close()
    assert sockets.has_left(ours)
