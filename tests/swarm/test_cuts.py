"""Devices whose connections are cut after every number of bytes get every push, and none twice.

Between them and the real server stands a proxy that passes on so many bytes of each connection,
then hangs up on the device and goes on reading: as when a network is lost, the server has sent
what no device gets.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import read_request, serving
from tests.swarm.test_swarm import server_of
from trio_push.push import Push
from trio_push.server import Server
from trio_push.swarm.audit import Audit
from trio_push.swarm.device import Device, keep_connected
from trio_push.swarm.lean_device import LeanDevice
from trio_push.swarm.lean_websocket import LeanWebSocketDevice
from trio_push.swarm.library_device import LibraryDevice
from trio_push.swarm.library_websocket import LibraryWebSocketDevice
from trio_push.swarm.population import Destination, Population
from trio_push.swarm.stamp import Stamp, Stamper
from trio_push.swarm.start import find_start
from trio_push.swarm.target import Target, look_up
from trio_push.swarm.tokens import GeneratedTokens

Make = Callable[[int, Population, trio.Nursery], Device]

MAKE: dict[str, Make] = {
    "lean-sse": lambda index, people, _: LeanDevice(index, people),
    "lean-ws": lambda index, people, _: LeanWebSocketDevice(index, people),
    "library-sse": lambda index, people, _: LibraryDevice(index, people),
    "library-ws": LibraryWebSocketDevice,
}
#: of head and events together: where a connection of the second round is cut at the latest
LONGEST = 1100
PUSHES = 2
ROUNDS = 4


@asynccontextmanager
async def cutting(server: Server, budgets: dict[str, list[int]]) -> AsyncIterator[Target]:
    """The proxy. Connections of a token get its budgets in turn, and then all they want."""
    address = urlsplit(server.addresses.wire[0])

    async def handler(device: trio.SocketStream, request: bytes) -> None:
        found = re.search(rb"token=(\w+)", request)
        assert found is not None
        rest = budgets[found[1].decode()]
        budget = rest.pop(0) if rest else 10**9
        upstream = await trio.open_tcp_stream(str(address.hostname), address.port or 0)
        async with upstream, trio.open_nursery() as nursery:
            await upstream.send_all(request)
            nursery.start_soon(pass_on, device, upstream)
            # a device that waited too long for its answer has hung up
            with suppress(trio.BrokenResourceError):
                async for data in upstream:
                    if budget > 0:
                        await device.send_all(data[:budget])
                    budget -= len(data)
                    if budget <= 0:
                        await device.aclose()
            nursery.cancel_scope.cancel()

    async with serving(handler) as target:
        yield target


async def pass_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    try:
        async for data in source:
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # cut, by us or by the server


@pytest.mark.parametrize(
    ("kind", "cuts", "ack"),
    [
        ("lean-sse", range(700), False),
        ("lean-ws", range(700), False),
        ("lean-ws", range(0, 700, 7), True),
        # their clients are not told by themselves when the head of a response is cut
        ("library-sse", range(200, 700, 9), False),
        ("library-ws", range(200, 700, 9), False),
    ],
)
async def test_cut_anywhere(kind: str, cuts: range, ack: bool) -> None:
    count = len(cuts)
    tokens = GeneratedTokens(count, seed=7)
    audit, stamper = Audit(count), Stamper("cut5")
    budgets = {
        token: [cut, max(cuts.start, cut * 13 % LONGEST), max(cuts.start, cut * 29 % LONGEST)]
        for token, cut in zip(tokens, cuts, strict=True)
    }
    budgets = defaultdict(list, budgets)  # and for the device that asks where the numbers stand
    async with server_of() as server, cutting(server, budgets) as proxy:
        people = await population(server, proxy, tokens, audit, stamper, ack=ack)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people.reading.run)
            for index in range(count):
                device = MAKE[kind](index, people, nursery)
                nursery.start_soon(keep_connected, device, people)
            with trio.fail_after(PATIENCE_S):
                while len(server.node.directory) < count:
                    await trio.sleep(0.02)
            for _ in range(ROUNDS):
                with trio.fail_after(PATIENCE_S):
                    for _ in range(PUSHES):
                        await server.node.push_channel.submit(
                            pushes(tokens, audit, stamper, ack=ack)
                        )
                    await trio.sleep(0.2)
                    while people.connections.now < count:
                        await trio.sleep(0.02)
            with trio.move_on_after(PATIENCE_S):
                while audit.unseen():
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        lost = Counter(index for index, _ in audit.unseen_pushes())
        assert not lost, {tokens[index][:8]: cuts[index] for index in lost}
        assert audit.deliveries.distinct == count * PUSHES * ROUNDS
        assert audit.deliveries.foreign == 0
        assert ack or audit.deliveries.duplicate == 0
        assert people.connections.not_recovered == 0
        assert people.connections.reconnects > count


async def population(
    server: Server, proxy: Target, tokens: Any, audit: Audit, stamper: Stamper, *, ack: bool
) -> Population:
    destination = Destination(
        target=await look_up(server.addresses.wire[0], "--url"),
        tokens=tokens,
        path=None,
        connect_timeout_s=PATIENCE_S,
        ack=ack,
    )
    start = await find_start(destination)
    assert start is not None
    return Population(
        replace(destination, target=proxy),
        audit,
        stamper,
        seed=0,
        wall_offset_s=0,
        schedule=lambda failures, jitter: 0.02,
        start=start,
    )


def pushes(tokens: Any, audit: Audit, stamper: Stamper, *, ack: bool) -> list[Push]:
    made = []
    for index, token in enumerate(tokens):
        n = audit.plan(index)
        audit.accept()
        payload = stamper.payload(Stamp(index, n, 0))
        made.append(Push(f"{index}.{n}", token, payload, expires_at=4e9, wants_ack=ack))
    return made


class TestWhereTheNumbersStand:
    async def test_ours(self) -> None:
        async with server_of() as server:
            push = Push("x", "aa", b"x", expires_at=4e9)
            await server.node.push_channel.submit([push])
            target = await look_up(server.addresses.wire[0], "--url")
            destination = Destination(
                target=target, tokens=[], path=None, connect_timeout_s=PATIENCE_S
            )
            start = await find_start(destination)
            assert start is not None
            assert start.epoch == server.node.router.epoch
            assert start.seq >= 1

    @pytest.mark.parametrize(
        "answer", [b"nonsense", b"[]", b"{}", b'{"server":"other"}', b'{"server":"trio-push"}']
    )
    async def test_another(self, answer: bytes) -> None:
        """The last of these does not even have events."""

        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            while request:
                found = request.startswith(b"GET /stats")
                status = b"200 OK" if found else b"404 Not Found"
                head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(answer))
                await stream.send_all(head + answer)
                request = await read_request(stream)

        async with serving(handler) as target:
            destination = Destination(
                target=target, tokens=[], path=None, connect_timeout_s=PATIENCE_S
            )
            assert await find_start(destination) is None
