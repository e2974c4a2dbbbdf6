"""Both kinds of WebSocket devices against small servers, good and bad."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from wsproto.utilities import generate_accept_token

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import Handler, serving, unused_target
from tests.swarm.test_device import Seen, answering, cut_short, live
from trio_push.swarm.device import ConnectFailed, Device
from trio_push.swarm.lean_websocket import LeanWebSocketDevice
from trio_push.swarm.library_websocket import LibraryWebSocketDevice
from trio_push.swarm.population import Population
from trio_push.swarm.target import Target
from trio_push.wire import websocket
from trio_push.wire.websocket import Close, Event, Message, Pong, Reader

Make = Callable[[int, Population], Device]


@pytest.fixture(params=["lean", "library"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    async with trio.open_nursery() as nursery:

        def device(index: int, population: Population) -> Device:
            if request.param == "lean":
                return LeanWebSocketDevice(index, population)
            return LibraryWebSocketDevice(index, population, nursery)

        yield device
        nursery.cancel_scope.cancel()


def accepting(request: bytes) -> bytes:
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert found is not None
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % generate_accept_token(found[1])
    )


def push(n: int) -> bytes:
    text = b'{"type":"notification","id":"i%d","epoch":"e","seq":%d,"topic":"","data":%d}' % (
        n,
        n,
        n,
    )
    return websocket.text_frame(text)


CLOSE = websocket.close_frame(1001)


def sending(*parts: bytes) -> Handler:
    """A server that shakes hands, sends `parts`, each by itself, and waits for the end."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        first, *others = parts
        await stream.send_all(accepting(request) + first)
        for part in others:
            await trio.sleep(0.01)
            await stream.send_all(part)
        with trio.move_on_after(2):
            async for _ in stream:
                pass

    return handler


async def receive_all(make: Make, target: Target) -> list[str]:
    seen = Seen(target)
    device = make(0, seen.population)
    with trio.fail_after(PATIENCE_S):
        await live(device, seen.population)
    assert device.received == len(seen.data)
    return seen.data


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"", push(1), push(2) + CLOSE], ["1", "2"]),
        ([push(1), push(2), CLOSE], ["1", "2"]),
        ([b"", push(1)[:1], push(1)[1:20], push(1)[20:] + CLOSE], ["1"]),
        ([b"", b"\x89\x00", b"\x8a\x01x", push(1), CLOSE], ["1"]),
        ([b"", websocket.binary_frame(b"\xff") + push(1), CLOSE], ["1"]),
        ([b"", CLOSE + push(1)], []),
        ([CLOSE], []),
    ],
    ids=["messages", "early", "split", "control frames", "binary", "after the end", "at once"],
)
async def test_messages(make: Make, parts: list[bytes], expected: list[str]) -> None:
    async with serving(sending(*parts)) as target:
        assert await receive_all(make, target) == expected


@pytest.mark.parametrize(
    "garbage", [b"\x83\x00", b"\x81\x81abcdx", b"\xff\xff\xff", b"\x81\x01\xff"]
)
async def test_garbage_ends_it(make: Make, garbage: bytes) -> None:
    async with serving(sending(b"", push(1), garbage + push(2))) as target:
        assert await receive_all(make, target) == ["1"]


async def until(done: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not done():
            await trio.sleep(0.01)


@asynccontextmanager
async def talking(said: list[Event], *parts: bytes) -> AsyncIterator[Target]:
    """A server that sends `parts` and notes what is said to it, until a close frame."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(accepting(request) + b"".join(parts))
        reader = Reader(1000)
        async for data in stream:
            said.extend(reader.feed(data))
            if any(isinstance(event, Close) for event in said):
                return

    async with serving(handler) as target:
        yield target


async def test_answers_pings_and_the_close(make: Make) -> None:
    said: list[Event] = []
    async with talking(said, b"\x89\x02hi", CLOSE) as target:
        await receive_all(make, target)
        await until(lambda: len(said) == 2)
    assert said[0] == Pong(b"hi")
    assert [type(event) for event in said] == [Pong, Close]
    assert said[1] == Close(1001)


async def test_comes_back_and_asks_for_what_it_missed(make: Make) -> None:
    firsts: list[Event] = []
    answers = iter([push(7) + CLOSE, b""])

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(accepting(request) + next(answers))
        firsts.extend(Reader(1000).feed(bytes(await stream.receive_some())))

    async with serving(handler) as target:
        people = Seen(target).population
        device = make(0, people)
        with trio.fail_after(PATIENCE_S):
            await live(device, people)
            await live(device, people)
    assert firsts == [
        Close(1001),
        Message(True, b'{"type":"sync","last_seen":7,"epoch":"e"}'),
    ]


async def test_says_goodbye_when_cancelled(make: Make) -> None:
    said: list[Event] = []
    async with talking(said, push(1)) as target:
        seen = Seen(target)
        await cut_short(make, seen, seen.has_some)
        await until(lambda: said)
    assert said == [Close(1000)]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", "status 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200"),
        (
            b"HTTP/1.1 307 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            "redirected to /there",
        ),
    ],
)
async def test_refusals(make: Make, response: bytes, reason: str) -> None:
    async with serving(answering(response)) as target:
        with pytest.raises(ConnectFailed, match=f"^{reason}$"):
            await receive_all(make, target)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "closed before the response"),
        (b"HTTP/1.1 101 x\r\nUpgr", "closed before the response"),
        (b"\0\xff\r\n\r\n", "not an HTTP response: .*"),
        (accepting(b"Sec-WebSocket-Key: another"), "the answer to the handshake is wrong"),
    ],
)
async def test_garbage(response: bytes, reason: str) -> None:
    """Of lean devices only: the library waits until the time to connect is up."""
    async with serving(answering(response)) as target:
        with pytest.raises(ConnectFailed, match=f"^{reason}$"):
            await receive_all(LeanWebSocketDevice, target)


async def test_nobody_listens(make: Make) -> None:
    with pytest.raises(ConnectFailed, match="refused"):
        await receive_all(make, await unused_target())


@pytest.mark.parametrize("shakes_hands", [False, True])
async def test_cancelled_at_each_wait(make: Make, shakes_hands: bool) -> None:
    """The server sees the connection go, whatever the device was waiting for."""
    said, gone = trio.Event(), trio.Event()

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        if shakes_hands:
            await stream.send_all(accepting(request))
        said.set()
        async for _ in stream:
            pass
        gone.set()

    async with serving(handler) as target:
        await cut_short(make, Seen(target), said)
        with trio.fail_after(PATIENCE_S):
            await gone.wait()


@pytest.mark.parametrize("suddenly", [False, True])
async def test_leaves(make: Make, suddenly: bool) -> None:
    """A lean device that leaves politely still reads what comes before the server's answer."""
    said: list[Event] = []

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(accepting(request) + push(1))
        async for data in stream:
            said.extend(Reader(1000).feed(data))
            await stream.send_all(push(2) + websocket.close_frame(1000))

    async with serving(handler) as target, trio.open_nursery() as nursery:
        seen = Seen(target)
        device = make(0, seen.population)
        nursery.start_soon(live, device, seen.population)
        await seen.has_some.wait()
        device.leave(suddenly=suddenly)
        device.leave(suddenly=suddenly)
    lean = isinstance(device, LeanWebSocketDevice)
    assert seen.data == (["1", "2"] if lean and not suddenly else ["1"])
    assert said == ([] if lean and suddenly else [Close(1000)])
    assert seen.population.connections.closes == {}
    device.leave()  # nothing happens
