from __future__ import annotations

import json
import math

import pytest
import trio

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import read_request, serving
from trio_push.swarm.on_push import CAPACITY, CONNECTIONS, OnPush
from trio_push.swarm.target import Target, look_up

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class CheckIn:
    """A server that notes each call and when it came."""

    def __init__(self, answer: bytes = OK, hold_s: float = 0) -> None:
        self.requests: list[tuple[float, bytes]] = []
        self.now = self.most = 0
        self._answer = answer
        self._hold_s = hold_s

    async def handle(self, stream: trio.SocketStream, request: bytes) -> None:
        while request:
            self.requests.append((trio.current_time(), request))
            self.now += 1
            self.most = max(self.most, self.now)
            await trio.sleep(self._hold_s)
            self.now -= 1
            await stream.send_all(self._answer)
            request = await read_request(stream)


async def call(check_in: CheckIn, pushes: int, *, think_s: float = 0) -> OnPush:
    async with serving(check_in.handle) as server, trio.open_nursery() as nursery:
        target = await look_up(f"{server.url}/mdm?device={{token}}", "--on-push-url")
        on_push = OnPush(target, [f"token {i}" for i in range(pushes)], think_s)
        nursery.start_soon(on_push.run)
        for i in range(pushes):
            on_push.received(i, json.dumps({"n": i}))
        assert on_push.calls.open == pushes
        with trio.fail_after(PATIENCE_S):
            while on_push.calls.open:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    return on_push


async def test_calls_the_url_with_the_push() -> None:
    check_in = CheckIn()
    on_push = await call(check_in, 2)
    assert (on_push.calls.succeeded, on_push.calls.failed) == (2, 0)
    heads = {}
    for _, request in check_in.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        heads[body] = head.split(b"\r\n")[0]
    assert heads == {
        b'{"n": 0}': b"POST /mdm?device=token%200 HTTP/1.1",
        b'{"n": 1}': b"POST /mdm?device=token%201 HTTP/1.1",
    }


async def test_thinks_first() -> None:
    check_in = CheckIn()
    began = trio.current_time()
    await call(check_in, 100, think_s=0.2)
    assert all(at - began >= 0.2 for at, _ in check_in.requests)


async def test_a_bounded_number_at_a_time() -> None:
    check_in = CheckIn(hold_s=0.02)
    on_push = await call(check_in, 3 * CONNECTIONS)
    assert on_push.calls.succeeded == 3 * CONNECTIONS
    assert check_in.most <= CONNECTIONS


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", b"what\r\n\r\n"]
)
async def test_calls_that_fail(answer: bytes) -> None:
    on_push = await call(CheckIn(answer), 3)
    assert (on_push.calls.succeeded, on_push.calls.failed) == (0, 3)


def test_more_calls_than_may_wait() -> None:
    target = Target("http", "127.0.0.1", 1, "", trio.socket.AF_INET, ("127.0.0.1", 1))
    on_push = OnPush(target, ["t"], math.inf)

    async def main() -> None:
        for _ in range(CAPACITY + 3):
            on_push.received(0, "x")

    trio.run(main)
    assert (on_push.calls.open, on_push.calls.skipped) == (CAPACITY, 3)
