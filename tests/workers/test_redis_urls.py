"""`serve --workers 2 --redis URL`, wherever that leads: a cluster, over TLS, a Unix socket."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.fault.load import CALM_S, agree, books_of, loaded
from tests.redis import redis_cluster, redis_server, redis_with_tls
from tests.serving import PATIENCE_S, Peer
from tests.workers.running import Crew, connected, crew_of, until

pytestmark = pytest.mark.needs("redis-server")

#: in several partitions
TOKENS = [f"{n:04x}" for n in range(16)]
#: of devices that are not there
AWAY = ["aa", "bb"]
HOUR = {"apns_expiration": "4000000000"}


@contextmanager
def redis_at(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a Redis of that kind."""
    match kind:
        case "cluster":
            with redis_cluster() as cluster:
                yield cluster.url_text
        case "tls":
            with redis_with_tls(folder) as url:
                yield url
        case _:
            with redis_server() as server:
                yield server.url_text


@contextmanager
def alone(worker: int, workers: Iterable[int]) -> Iterator[None]:
    """The other workers stand still, so that this one takes all that comes."""
    others = [pid for pid in workers if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


class World:
    """Devices and a provider's connection at each worker."""

    def __init__(self) -> None:
        self.devices: dict[str, Peer] = {}
        self.providers: list[Peer] = []
        self.accepted = 0
        #: Redis was too slow, as on a busy machine: such a push may yet arrive
        self.refused = 0

    async def push(self, provider: Peer, token: str, payload: str) -> None:
        """Push until that is accepted."""

        async def is_accepted() -> bool:
            status = (await provider.push(token, payload.encode(), **HOUR)).status
            assert status in (200, 503)
            self.refused += status == 503
            return status == 200

        await until(is_accepted)
        self.accepted += 1

    async def each_worker_reaches_all(self) -> None:
        for n, provider in enumerate(self.providers):
            for token, device in self.devices.items():
                await self.push(provider, token, f"by {n}")
                await read_until(device, f"by {n}")

    async def push_to_who_is_away(self) -> None:
        for n, token in enumerate(AWAY):
            await self.push(self.providers[n], token, token)

    def check(self, books: dict[str, Any]) -> None:
        assert (books["nodes"], books["balanced"]) == (len(self.providers), True), books
        assert 0 <= books["accepted"] - self.accepted <= self.refused


@asynccontextmanager
async def populated(*crews: Crew) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World()
        pids = {crew: [node["pid"] for node in await crew.nodes()] for crew in crews}
        workers = [(crew, pid) for crew in crews for pid in pids[crew]]
        for n, (crew, pid) in enumerate(workers):
            with alone(pid, pids[crew]):
                for token in TOKENS[n :: len(workers)]:
                    device = await stack.enter_async_context(Peer.connected(crew.url))
                    await device.listen(token)
                    world.devices[token] = device
                provider = await stack.enter_async_context(Peer.connected(crew.url))
                assert (await provider.request("GET", "/healthz")).status == 200
                world.providers.append(provider)
        yield world


async def read_until(device: Peer, payload: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while (await device.event()).data != payload:
            pass


async def read_what_was_stored(devices: dict[str, Peer]) -> None:
    for token, device in devices.items():
        await read_until(device, token)


async def ends_well(crew: Crew, devices: Iterable[Peer], refused: int) -> None:
    """SIGTERM: the devices are told when to come back, and nothing is lost."""
    crew.terminate()
    for device in devices:
        await device.events()
        assert device.retry_ms is not None
    assert (await crew.ended())[0] == 0
    assert (await crew.logged("all_stopped"))["lost"] <= refused


@pytest.mark.parametrize("kind", ["cluster", "tls", "unix"])
async def test_two_workers(kind: str, tmp_path: Path) -> None:
    with redis_at(kind, tmp_path) as url:
        async with crew_of(2, "--redis", url) as crew, populated(crew) as world:
            await world.each_worker_reaches_all()
            await world.push_to_who_is_away()
            world.check(await crew.get("/v1/ledger"))
            await ends_well(crew, world.devices.values(), world.refused)
        async with crew_of(2, "--redis", url) as crew, connected(crew, AWAY) as devices:
            await read_what_was_stored(devices)
            assert (await crew.get("/v1/ledger"))["balanced"]


async def test_two_servers_of_two_workers_on_a_cluster() -> None:
    with redis_cluster() as cluster:
        url = cluster.url_text
        async with (
            crew_of(2, "--redis", url) as first,
            crew_of(2, "--redis", url) as second,
            populated(first, second) as world,
        ):
            await world.each_worker_reaches_all()
            world.check(await books_of(first, second))
            await world.push_to_who_is_away()
            here = list(world.devices.values())[: len(TOKENS) // 2]
            await ends_well(first, here, world.refused)
            async with connected(second, AWAY) as devices:
                await read_what_was_stored(devices)


async def test_under_load_on_a_cluster() -> None:
    with redis_cluster() as cluster:
        url = cluster.url_text
        async with (
            crew_of(2, "--redis", url) as first,
            crew_of(2, "--redis", url) as second,
            loaded(first, second) as load,
        ):
            await trio.sleep(4 * CALM_S)
            await agree(load, first, second)
