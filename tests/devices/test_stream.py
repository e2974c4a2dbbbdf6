"""A device on a stream, with the HTTP/2 connection under it played by the test."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import TRANSPORT, push
from trio_push.devices.stream import StreamConnection
from trio_push.node import Node
from trio_push.push import State


class Streams:
    """Takes `room` bytes on stream 1."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.room = 0
        self.taken = b""
        self.dropped: list[int] = []

    def send(self, stream_id: int, data: bytes) -> int:
        assert stream_id == 1
        part = data[: self.room]
        self.room -= len(part)
        self.taken += part
        return len(part)

    def drop_device(self, stream_id: int) -> None:
        self.dropped.append(stream_id)


@pytest.fixture
def streams() -> Iterator[Streams]:
    with socket.socket() as sock:
        yield Streams(sock)


@pytest.fixture
def device(node: Node, streams: Streams) -> StreamConnection:
    device = StreamConnection("aa", streams, 1, TRANSPORT, 0.0, node.router.delivery)
    node.router.attach(device)
    return device


async def test_waits_for_flow_control(
    autojump_clock: MockClock, node: Node, streams: Streams, device: StreamConnection
) -> None:
    states = await node.push_channel.submit([push(b"one"), push(b"two")])
    assert states == [State.IN_FLIGHT, State.QUEUED]
    for _ in range(100):
        await wait_all_tasks_blocked()
        streams.room = 1
        device.writable()
    await wait_all_tasks_blocked()
    assert streams.taken.count(b"data: ") == 2
    assert streams.taken.endswith(b"two\n\n")
    assert device.mailbox is None


async def test_cut_when_it_takes_nothing(
    autojump_clock: MockClock, node: Node, streams: Streams, device: StreamConnection
) -> None:
    await node.push_channel.submit([push(b"one")])
    await trio.sleep(9)
    device.writable()  # the connection may write again, this stream still cannot
    await trio.sleep(9)
    assert not device.closed
    await trio.sleep(2)
    assert device.closed
    assert streams.dropped == [1]
    assert node.ledger.counts[State.STORED] == 1


async def test_lost_with_its_connection(
    autojump_clock: MockClock, node: Node, streams: Streams, device: StreamConnection
) -> None:
    await node.push_channel.submit([push(b"one")])
    await wait_all_tasks_blocked()
    device.lost()
    assert device.closed
    assert len(node.directory) == 0
    assert streams.dropped == []  # there is nothing left to end
    assert node.ledger.counts[State.STORED] == 1
    with pytest.raises(BrokenPipeError):
        device.send(b"x")


async def test_closing_wakes_who_waits_once(
    autojump_clock: MockClock, streams: Streams, device: StreamConnection
) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await device.wait_writable()

        await wait_all_tasks_blocked()
        device.close()
        device.close()
    assert streams.dropped == [1]
