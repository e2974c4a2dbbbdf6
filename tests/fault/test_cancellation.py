"""Cancelled at any await: what was done is wholly done or not at all, and the books say which."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from h2.connection import H2Connection
from h2.events import StreamEnded
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import T0, FakeDevice, push
from tests.serving import request
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.devices.farewell import farewell
from trio_push.intake.apns_mdm import MdmProfile
from trio_push.intake.faults import Fates
from trio_push.intake.http1 import Http1Intake
from trio_push.intake.http2 import Http2Intake
from trio_push.node import Node
from trio_push.patience import Patience
from trio_push.push import State
from trio_push.router import channel
from trio_push.router.channel import PushChannel, Submission
from trio_push.watch.health import Health

#: turns of the loop after which each of these is surely through
STEPS = range(12)


async def cancel_after(steps: int, function: Callable[..., Awaitable[Any]], *args: Any) -> bool:
    """Start it and cancel it so many turns later: whether it was through before that."""
    through = False

    async def run() -> None:
        nonlocal through
        await function(*args)
        through = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    return through


def balanced(node: Node) -> bool:
    return bool(node.ledger.snapshot(node.router.held())["balanced"])


@pytest.mark.parametrize("steps", STEPS)
async def test_submit(autojump_clock: MockClock, node: Node, steps: int) -> None:
    """Handed in before the first await: accepted, whether the caller hears of it or not."""
    node.router.attach(device := FakeDevice())
    await cancel_after(steps, node.push_channel.submit, [push(b"1"), push(b"2")])
    await wait_all_tasks_blocked()
    assert device.events == [b"1", b"2"]
    assert node.ledger.accepted == 2
    await node.push_channel.submit([push(b"3")])
    assert device.events[-1] == b"3"


@pytest.mark.parametrize("steps", STEPS)
async def test_submit_while_it_waits_for_room(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Nothing of it was accepted."""
    monkeypatch.setattr(channel, "CAPACITY", 1)
    pushes = PushChannel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pushes.submit, [push(b"first")])
        await wait_all_tasks_blocked()
        assert not await cancel_after(steps, pushes.submit, [push(b"second")])
        routed: list[bytes] = []

        def route(submission: Submission) -> None:
            routed.extend(push.payload for push in submission.pushes)
            submission.settle([State.STORED])

        pushes.close()
        await pushes.serve(route)
        assert routed == [b"first"]


async def test_submit_that_waits_for_room_when_the_channel_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "CAPACITY", 1)
    pushes = PushChannel()
    outcomes: list[object] = []

    async def submit(payload: bytes) -> None:
        try:
            outcomes.append(await pushes.submit([push(payload)]))
        except channel.Refusal as refusal:
            outcomes.append(refusal.reason.name)

    async with trio.open_nursery() as nursery:
        for payload in (b"first", b"second"):
            nursery.start_soon(submit, payload)
            await wait_all_tasks_blocked()
        pushes.close()
        await wait_all_tasks_blocked()
        assert outcomes == ["Shutdown"]
        await pushes.serve(lambda submission: submission.settle([State.STORED]))
    assert outcomes == ["Shutdown", [State.STORED]]


@pytest.mark.parametrize("steps", STEPS)
async def test_broadcast(autojump_clock: MockClock, node: Node, steps: int) -> None:
    """It has reached some of them, and each that it has reached is counted."""
    devices = [FakeDevice(f"{n:04x}", room=5 if n % 7 == 0 else None) for n in range(900)]
    for device in devices:
        node.router.attach(device)
    through = await cancel_after(steps, node.router.broadcast, push(b"all", token=""))
    assert balanced(node)
    assert (node.ledger.accepted == 900) or not through
    for device in devices:
        device.make_room(None)
    await wait_all_tasks_blocked()
    assert sum(len(device.events) for device in devices) == node.ledger.accepted


@pytest.mark.parametrize("steps", STEPS)
async def test_the_router_with_its_drains_and_timers(
    autojump_clock: MockClock, settings: ServeSettings, steps: int
) -> None:
    """Cancelled with something in every room: what is held stays held, and can be given up."""
    node = Node.make(settings, Clock(wall=lambda: T0 + trio.current_time()))
    device = FakeDevice(room=5)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(node.router.run, node.push_channel)
            node.router.attach(device)
            nursery.start_soon(
                node.push_channel.submit,
                [push(b"%d" % n) for n in range(6)] + [push(b"later", not_before=T0 + 0.5)],
            )
            await trio.lowlevel.checkpoint()
            device.make_room(30)
            await trio.sleep_forever()

    assert not await cancel_after(steps, run)
    assert balanced(node)
    node.router.delivery.disconnect(device)
    node.router.abandon()
    assert sum(node.router.held().values()) == 0
    assert balanced(node)
    assert node.ledger.accepted in (0, 7)
    assert node.ledger.counts[State.DELIVERED_LIVE] == len(device.events)


@pytest.mark.parametrize("steps", STEPS)
async def test_farewell(autojump_clock: MockClock, node: Node, steps: int) -> None:
    """Those it has not come to are closed all the same."""
    devices = [FakeDevice(f"{n:04x}", room=5 if n % 7 == 0 else None) for n in range(500)]
    for device in devices:
        node.router.attach(device)
    await node.router.broadcast(push(b"all", token=""))
    await cancel_after(steps, farewell, node.directory, node.router.delivery, 10)
    assert all(device.closed for device in devices)
    assert len(node.directory) == 0
    assert balanced(node)
    assert sum(len(device.events) for device in devices) + node.router.held()[State.STORED] == 500


# -- intake: all pushes of one read are accepted or none is, and none is answered that was not


TIMES = {"head_timeout_s": 10.0, "idle_timeout_s": 60.0}
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def no_devices(*_: object) -> None:
    raise AssertionError("nobody asked for events")


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100_000)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("steps", STEPS)
async def test_http1_answers(autojump_clock: MockClock, node: Node, pair: Pair, steps: int) -> None:
    intake = Http1Intake(
        MdmProfile(node), [Health(node, None)], Fates(node), websockets=(), **TIMES
    )
    sent = b"".join(request("POST", "/3/device/aa", b"%d" % n) for n in range(3))
    await cancel_after(steps, intake.serve, pair[0], sent, Patience(pair[0], 60))
    await wait_all_tasks_blocked()
    answered = received(pair[1]).count(b"200 OK")
    assert (answered, node.ledger.accepted) in [(0, 0), (0, 3), (3, 3)]
    assert balanced(node)


@pytest.mark.parametrize("steps", STEPS)
async def test_http2_answers(autojump_clock: MockClock, node: Node, pair: Pair, steps: int) -> None:
    client = H2Connection()
    client.initiate_connection()
    fields = {":method": "POST", ":scheme": "http", ":authority": "x", ":path": "/3/device/aa"}
    for stream_id in (1, 3, 5):
        client.send_headers(stream_id, fields.items())
        client.send_data(stream_id, b"x", end_stream=True)
    intake = Http2Intake(MdmProfile(node), [Health(node, None)], Fates(node), **TIMES)
    await cancel_after(
        steps, intake.serve, pair[0], client.data_to_send(), Patience(pair[0], 60), no_devices
    )
    await wait_all_tasks_blocked()
    events = client.receive_data(received(pair[1]))
    answered = sum(isinstance(event, StreamEnded) for event in events)
    assert (answered, node.ledger.accepted) in [(0, 0), (0, 3), (3, 3)]
    assert balanced(node)
