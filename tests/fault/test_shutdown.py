"""SIGTERM while everything is going on: nobody is left hanging, and nothing is unaccounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from itertools import cycle

import trio

from tests.fault.process import Serve, serve
from tests.serving import Peer, bounded, request
from trio_push.devices.farewell import RETRY_MS
from trio_push.wire.sse_parser import Event

DEVICES = 150
PROVIDERS = 8


class Load:
    """Providers that push as fast as they can until they are told that the server stops."""

    def __init__(self, server: Serve) -> None:
        self.server = server
        #: payloads by the status that answered them; 0 is no answer
        self.answers: dict[bytes, int] = {}

    async def push_on(self, name: str, tokens: Sequence[str]) -> None:
        """To each token in turn, until a push is not accepted."""
        async with Peer.connected(self.server.url) as peer:
            for n, token in enumerate(cycle(tokens)):
                payload = f"{name}-{n}".encode().ljust(1000)
                self.answers[payload] = 0
                try:
                    answer = await peer.push(token, payload)
                except (trio.BrokenResourceError, AssertionError):
                    return  # closed before it was answered
                self.answers[payload] = answer.status
                if answer.status != 200:
                    assert (answer.status, answer.body) == (503, b'{"reason":"Shutdown"}\n')
                    return

    async def stall(self, token: str) -> None:
        """Push more to a device that does not read than the kernel takes for it."""
        async with Peer.connected(self.server.url) as peer:
            for start in range(0, 1500, 50):
                payloads = [f"{token}-{n}".encode().ljust(4096) for n in range(start, start + 50)]
                target = f"/3/device/{token}"
                await peer.send(b"".join(request("POST", target, body) for body in payloads))
                for payload in payloads:
                    self.answers[payload] = (await peer.response()).status

    def answered(self, status: int) -> set[bytes]:
        return {payload for payload, answer in self.answers.items() if answer == status}


async def ask_without_reading(peer: Peer) -> None:
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(request("GET", "/stats") * 100)


async def read_events(peer: Peer, into: list[Event]) -> None:
    into += await peer.events()


async def test_sigterm_under_load() -> None:
    """A device and a provider that do not read, and one amid a request, hold nothing up."""
    seen: list[Event] = []
    async with (
        bounded(),
        serve("--drain", "1s", "--write-timeout", "1h") as server,
        AsyncExitStack() as stack,
    ):

        async def connect(*, small_buffers: bool = False) -> Peer:
            peer = Peer.connected(server.url, small_buffers=small_buffers)
            return await stack.enter_async_context(peer)

        tokens = [f"{n:04x}" for n in range(DEVICES)]
        devices = [await connect() for _ in tokens]
        stalled, deaf, half = await connect(small_buffers=True), await connect(), await connect()
        await stalled.listen("ff")
        await half.send(request("POST", "/3/device/aa", b"x")[:-1])
        load = Load(server)
        await load.stall("ff")
        async with trio.open_nursery() as nursery:
            for device, token in zip(devices, tokens, strict=True):
                await device.listen(token)
                nursery.start_soon(read_events, device, seen)
            nursery.start_soon(ask_without_reading, deaf)
            for n in range(PROVIDERS):
                nursery.start_soon(load.push_on, f"{n}", tokens[n:] + tokens[:n])
            await trio.sleep(0.5)
            start = trio.current_time()
            server.terminate()
            code, _ = await server.ended()
        assert code == 0
        # the drain time; waiting for who is stalled would take the write timeout
        assert trio.current_time() - start >= 1
        assert all(RETRY_MS[0] <= (device.retry_ms or 0) <= RETRY_MS[1] for device in devices)
        seen += await stalled.events(may_be_reset=True)
        check_books(load, Counter(event.data.encode() for event in seen), server)


def check_books(load: Load, read: Counter[bytes], server: Serve) -> None:
    """What was answered, what was read, and what the server says it did, agree."""
    [stopped] = [line for line in server.log if line["event"] == "stopped"]
    ended = stopped["ended"]
    accepted, unanswered = load.answered(200), load.answered(0)
    assert len(load.answered(503)) + len(unanswered) == PROVIDERS
    assert max(read.values()) == 1
    assert set(read) <= accepted | unanswered
    assert ended["delivered"] == len(read)
    assert len(accepted - set(read)) <= ended["lost"] + ended["coalesced"]
    assert 0 <= stopped["accepted"] - len(accepted) <= len(unanswered)
    others = ("coalesced", "expired", "discarded", "recalled", "lost", "dropped")
    assert stopped["accepted"] == ended["delivered"] + sum(ended[state] for state in others)


async def test_a_second_sigterm_ends_it_at_once() -> None:
    async with bounded(), serve("--drain", "1h") as server, AsyncExitStack() as stack:
        for n in range(300):
            peer = await stack.enter_async_context(Peer.connected(server.url))
            await peer.listen(f"{n:04x}")
        server.terminate()
        await server.logged("stopping")
        server.terminate()
        code, _ = await server.ended()
        assert code == 0
        assert server.log[-1]["event"] == "stopped"


async def test_idle_server_stops_at_once() -> None:
    async with bounded(), serve("--drain", "1h") as server:
        server.terminate()
        code, _ = await server.ended()
        assert (code, server.log[-1]["accepted"]) == (0, 0)
