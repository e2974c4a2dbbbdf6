"""Too many at once: of connections, of requests, of open files."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import trio

from tests.fault.process import serve
from tests.serving import Peer, bounded, nothing_left, request, serving, settle
from trio_push.capacity import FILES_KEPT_FREE

CROWD = 1500


async def test_thousands_of_connects_at_once() -> None:
    """Devices, each of which gets the broadcast, and all of which go at once."""
    async with serving() as server, AsyncExitStack() as stack:
        peers = [Peer.connected(server) for _ in range(CROWD)]
        devices = [await stack.enter_async_context(peer) for peer in peers]
        async with trio.open_nursery() as nursery:
            for n, device in enumerate(devices):
                nursery.start_soon(device.listen, f"{n:04x}")
        assert len(server.node.directory) == CROWD
        async with Peer.connected(server) as provider:
            for n in range(0, CROWD, 100):
                assert (await provider.push(f"{n:04x}", b"%d" % n)).status == 200
                assert (await devices[n].event()).data == str(n)
        await stack.aclose()
        await settle(lambda: nothing_left(server))


async def test_a_storm_beyond_the_limit() -> None:
    """The limit is kept to exactly; all others are told to come again."""
    statuses = []
    async with serving(max_connections=100) as server, AsyncExitStack() as stack:

        async def connect(n: int) -> None:
            peer = await stack.enter_async_context(Peer.connected(server))
            response = await peer.request("GET", f"/events?token={n:04x}")
            statuses.append(response.status)
            assert (response.status == 503) == ("retry-after" in response.headers)

        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(connect, n)
        assert sorted(statuses) == [200] * 100 + [503] * 200
        await stack.aclose()
        await settle(lambda: nothing_left(server))


async def test_one_who_pipelines_without_end_does_not_keep_the_others_waiting() -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        for target in ("GET /healthz", "POST /3/device/aa", "GET /stats"):
            data = request(*target.split(" "), user_agent="x" * 60)
            nursery.start_soon(pipeline, server.addresses.wire[0], data)
        async with Peer.connected(server) as device, Peer.connected(server) as provider:
            await device.listen("bb")
            slowest = 0.0
            for n in range(20):
                start = trio.current_time()
                assert (await provider.push("bb", b"%d" % n)).status == 200
                assert (await device.event()).data == str(n)
                slowest = max(slowest, trio.current_time() - start)
        assert slowest < 10
        nursery.cancel_scope.cancel()


async def pipeline(url: str, data: bytes) -> None:
    async with Peer.connected(url) as peer, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            while await peer.receive():
                pass

        while True:
            await peer.send(data * 500)


async def test_a_full_file_table() -> None:
    """Nobody new gets in, those who are there go on, and afterwards all is as before."""
    async with bounded(), serve(open_files=300) as server, AsyncExitStack() as stack:
        assert (await server.logged("ready"))["devices_fit"] == 300 - FILES_KEPT_FREE
        provider = await stack.enter_async_context(Peer.connected(server.url))
        devices = [await stack.enter_async_context(Peer.connected(server.url)) for _ in range(20)]
        for n, device in enumerate(devices):
            await device.listen(f"{n:02x}")
        async with AsyncExitStack() as crowd:
            for _ in range(400):
                await crowd.enter_async_context(Peer.connected(server.url))
            line = await server.logged("accept_failed")
            assert (line["level"], line["error"]) == ("warning", "EMFILE")
            for n, device in enumerate(devices):
                assert (await provider.push(f"{n:02x}", b"%d" % n)).status == 200
                assert (await device.event()).data == str(n)
        async with Peer.connected(server.url) as peer:
            assert (await peer.request("GET", "/healthz")).status == 200
            await peer.listen("ff")
            assert (await provider.push("ff", b"again")).status == 200
            assert (await peer.event()).data == "again"
        server.terminate()
        code, _ = await server.ended()
        assert code == 0
        assert not [line for line in server.log if line["level"] == "error"]
        with suppress(trio.BrokenResourceError):
            assert await provider.read_to_end() == b""
