"""Both kinds of devices against small servers, good and bad."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import HEAD, Handler, serving, unused_target
from trio_push.swarm.audit import Audit
from trio_push.swarm.device import ConnectFailed, Device
from trio_push.swarm.lean_device import LeanDevice
from trio_push.swarm.library_device import LibraryDevice
from trio_push.swarm.population import Destination, Population
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.target import Target

Make = Callable[[int, Population], Device]


@pytest.fixture(params=[LeanDevice, LibraryDevice])
def make(request: pytest.FixtureRequest) -> Make:
    kind: Make = request.param
    return kind


class Seen:
    """A population of one device, and what it received."""

    def __init__(self, target: Target, path: str | None = None) -> None:
        self.data: list[str] = []
        self.has_some = trio.Event()
        destination = Destination(
            target=target,
            tokens=["a b/c"],
            path=path,
            connect_timeout_s=PATIENCE_S,
            sources=["127.0.0.9"],
        )
        self.population = Population(
            destination,
            Audit(1),
            Stamper("run"),
            seed=0,
            wall_offset_s=0,
            on_push=self._note,
        )

    def _note(self, index: int, data: str) -> None:
        self.data.append(data)
        self.has_some.set()


async def live(device: Device, people: Population) -> None:
    """From connecting to the end of the stream."""
    await device.connect()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(people.reading.run)
        try:
            while device.read():
                await device.wait()
        finally:
            await device.close()
        nursery.cancel_scope.cancel()


async def cut_short(make: Make, seen: Seen, said: trio.Event) -> None:
    """Cancel a device soon after that event."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live, make(0, seen.population), seen.population)
        await said.wait()
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def receive_all(make: Make, target: Target) -> list[str]:
    seen = Seen(target)
    device = make(0, seen.population)
    await live(device, seen.population)
    assert device.received == len(seen.data)
    assert seen.population.audit.deliveries.foreign == len(seen.data)
    return seen.data


def sending(*parts: bytes) -> Handler:
    """A server that sends `parts`, each by itself, and closes."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        for part in parts:
            await stream.send_all(part)
            await trio.sleep(0.01)

    return handler


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([HEAD, b"data: 1\n\n", b"data: 2\n\n"], ["1", "2"]),
        ([HEAD + b"data: 1\n\nda", b"ta: 2\n\n"], ["1", "2"]),
        ([HEAD[:20], HEAD[20:] + b"data: 1\n\n"], ["1"]),
        ([HEAD, b": keepalive\n\n", b"retry: 1\n\n", b"data: 1\n\ndata: cut"], ["1"]),
        ([CHUNKED, b"9\r\ndata: 1\n\n\r\n", b"4\r\ndata\r\n5\r\n: 2\n\n\r\n"], ["1", "2"]),
        ([HEAD], []),
    ],
    ids=["events", "split event", "split head", "comments", "chunked", "nothing"],
)
async def test_streams(make: Make, parts: list[bytes], expected: list[str]) -> None:
    async with serving(sending(*parts)) as target:
        assert await receive_all(make, target) == expected


async def test_stream_that_says_where_it_ends(make: Make) -> None:
    """The server keeps the connection open after the last chunk."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(CHUNKED + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
        await trio.sleep_forever()

    async with serving(handler) as target:
        with trio.fail_after(PATIENCE_S):
            assert await receive_all(make, target) == ["1"]


async def test_reset_in_an_event(make: Make) -> None:
    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(HEAD + b"data: 1\n\ndata: ")
        # what has not been read by then is gone
        await seen.has_some.wait()
        # linger of 0 s: close() sends RST
        stream.setsockopt(
            trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\x01\0\0\0" + b"\0\0\0\0"
        )

    async with serving(handler) as target:
        seen = Seen(target)
        await live(make(0, seen.population), seen.population)
    assert seen.data == ["1"]


async def test_request(make: Make) -> None:
    requests: list[bytes] = []
    peers: list[str] = []

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        requests.append(request)
        peers.append(stream.socket.getpeername()[0])
        await stream.send_all(HEAD + b"retry: 2500\nid: e:7\ndata: x\n\n")

    async with serving(handler) as target:
        seen = Seen(target)
        device = make(0, seen.population)
        for _ in range(2):
            await live(device, seen.population)

    first, second = (request.lower() for request in requests)
    assert first.startswith(b"get /events?token=a%20b%2fc http/1.1\r\n")
    assert f"\r\nhost: {target.authority}\r\n".encode() in first
    assert b"\r\naccept: text/event-stream\r\n" in first
    assert b"last-event-id" not in first
    assert b"\r\nlast-event-id: e:7\r\n" in second
    assert device.retry_s == 2.5
    assert set(peers) == {"127.0.0.9"}


def answering(response: bytes) -> Handler:
    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(response)

    return handler


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nRetry-After: 1\r\n\r\nno", "status 503"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "status 204"),
        (
            b"HTTP/1.1 307 x\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
            "redirected to /there",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
            "not an event stream but text/html",
        ),
    ],
)
async def test_refusals(make: Make, response: bytes, reason: str) -> None:
    async with serving(answering(response)) as target:
        with pytest.raises(ConnectFailed, match=f"^{reason}$"):
            await receive_all(make, target)


@pytest.mark.parametrize("response", [b"", b"\0\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_garbage(make: Make, response: bytes) -> None:
    async with serving(answering(response)) as target:
        with pytest.raises(ConnectFailed):
            await receive_all(make, target)


async def test_nobody_listens(make: Make) -> None:
    with pytest.raises(ConnectFailed, match=r"refused|failed"):
        await receive_all(make, await unused_target())


async def test_garbage_in_the_stream_ends_it(make: Make) -> None:
    async with serving(sending(CHUNKED, b"9\r\ndata: 1\n\n\r\n", b"nonsense\r\n")) as target:
        assert await receive_all(make, target) == ["1"]


@pytest.mark.parametrize("part", [b"", HEAD[:10], HEAD])
async def test_cancelled_at_each_wait(make: Make, part: bytes) -> None:
    """The server sees the connection go, whatever the device was waiting for."""
    said, gone = trio.Event(), trio.Event()

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(part)
        said.set()
        assert await stream.receive_some() == b""
        gone.set()

    async with serving(handler) as target:
        await cut_short(make, Seen(target), said)
        with trio.fail_after(PATIENCE_S):
            await gone.wait()


@pytest.mark.parametrize("suddenly", [False, True])
async def test_leaves(make: Make, suddenly: bool) -> None:
    """A lean device that leaves politely still reads what was on the way."""

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        await stream.send_all(HEAD + b"data: 1\n\n")
        assert await stream.receive_some() == b""
        await stream.send_all(b"data: 2\n\n")

    async with serving(handler) as target, trio.open_nursery() as nursery:
        seen = Seen(target)
        device = make(0, seen.population)
        nursery.start_soon(live, device, seen.population)
        await seen.has_some.wait()
        device.leave(suddenly=suddenly)
    stays_to_read = isinstance(device, LeanDevice) and not suddenly
    assert seen.data == (["1", "2"] if stays_to_read else ["1"])
    device.leave()  # nothing happens


@pytest.mark.parametrize("slowly", [False, True])
async def test_what_a_slow_reader_does_not_read_stays_with_the_server(
    make: Make, slowly: bool
) -> None:
    taken = 0

    async def handler(stream: trio.SocketStream, request: bytes) -> None:
        nonlocal taken
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        await stream.send_all(HEAD)
        with trio.move_on_after(0.5 if slowly else PATIENCE_S):
            while taken < 2**20:
                taken += await stream.socket.send(b"data: 1\n\n" * 100)
        has_tried.set()

    has_tried = trio.Event()
    async with serving(handler) as target:
        seen = Seen(target)
        seen.population.slow_readers = float(slowly)
        await cut_short(make, seen, has_tried)
    assert (taken < 2**16) is slowly
