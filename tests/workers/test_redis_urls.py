"""`serve --workers 2 --redis URL`, wherever that leads: a cluster, over TLS, a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tests.fault.load import CALM_S, agree, books_of, loaded
from tests.redis import redis_cluster, redis_server, redis_with_tls
from tests.serving import PATIENCE_S, Peer
from tests.workers.running import Crew, connected, crew_of, until

pytestmark = pytest.mark.needs("redis-server")

#: in several partitions
TOKENS = [f"{n:04x}" for n in range(16)]
#: times that each device is pushed to, at most, until every worker has accepted some of that
ROUNDS = 30
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


@asynccontextmanager
async def workers_at(url: str, devices: int) -> AsyncIterator[Crew]:
    """With hardly more room than for so many devices, half of it for each: so each has some."""
    async with crew_of(2, "--redis", url, "--max-connections", str(devices + 4)) as crew:
        yield crew


class Provider:
    """Pushes over connections of its own, and so by any worker, until it is told 200."""

    def __init__(self) -> None:
        self.accepted = 0
        #: Redis was too slow, as on a busy machine: such a push may yet arrive
        self.refused = 0

    async def push(self, crew: Crew, token: str, payload: bytes) -> None:
        async def is_accepted() -> bool:
            async with Peer.connected(crew.url) as peer:
                status = (await peer.push(token, payload, **HOUR)).status
            assert status in (200, 503)
            self.refused += status == 503
            return status == 200

        await until(is_accepted)
        self.accepted += 1


async def read_until(device: Peer, payload: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while (await device.event()).data != payload:
            pass


async def each_worker_reaches_all(
    provider: Provider, devices: dict[str, Peer], *crews: Crew
) -> None:
    """Every device gets all that is pushed to it, until every worker has accepted some of that."""
    workers = [(crew, node) for crew in crews for node in await crew.nodes()]
    assert all(node["devices"] for _, node in workers)

    async def have_all_accepted() -> bool:
        for crew in crews:
            for token, device in devices.items():
                payload = f"by {crew.url}, {provider.accepted}"
                await provider.push(crew, token, payload.encode())
                await read_until(device, payload)
        return all([await accepted_by(crew, node["node"]) for crew, node in workers])

    # Not by the clock: a busy machine takes a while for each of them.
    for _ in range(ROUNDS):
        if await have_all_accepted():
            return
    raise AssertionError("a worker accepts nothing")


async def accepted_by(crew: Crew, node: str) -> int:
    accepted: int = (await crew.get(f"/v1/ledger?node={node}"))["accepted"]
    return accepted


async def ends_well(crew: Crew, devices: Iterable[Peer], provider: Provider) -> None:
    """SIGTERM: the devices are told when to come back, and nothing is lost."""
    crew.terminate()
    for device in devices:
        await device.events()
        assert device.retry_ms is not None
    assert (await crew.ended())[0] == 0
    assert (await crew.logged("all_stopped"))["lost"] <= provider.refused


@pytest.mark.parametrize("kind", ["cluster", "tls", "unix"])
async def test_two_workers(kind: str, tmp_path: Path) -> None:
    provider = Provider()
    with redis_at(kind, tmp_path) as url:
        async with workers_at(url, len(TOKENS)) as crew, connected(crew, TOKENS) as devices:
            await each_worker_reaches_all(provider, devices, crew)
            for token in AWAY:
                await provider.push(crew, token, token.encode())
            books = await crew.get("/v1/ledger")
            assert (books["nodes"], books["balanced"]) == (2, True), books
            assert 0 <= books["accepted"] - provider.accepted <= provider.refused
            assert books["ended"]["handed_over"] > 0, "nothing went from one to the other"
            await ends_well(crew, devices.values(), provider)
        async with workers_at(url, len(AWAY)) as crew, connected(crew, AWAY) as devices:
            for token, device in devices.items():
                await read_until(device, token)
            assert (await crew.get("/v1/ledger"))["balanced"]


async def test_two_servers_of_two_workers_on_a_cluster() -> None:
    provider = Provider()
    with redis_cluster() as cluster:
        url = cluster.url_text
        async with (
            workers_at(url, len(TOKENS) // 2) as first,
            workers_at(url, len(TOKENS) // 2) as second,
            connected(first, TOKENS[::2]) as here,
            connected(second, TOKENS[1::2]) as there,
        ):
            await each_worker_reaches_all(provider, here | there, first, second)
            books = await books_of(first, second)
            assert (books["nodes"], books["balanced"]) == (4, True), books
            assert 0 <= books["accepted"] - provider.accepted <= provider.refused
            for token in AWAY:
                await provider.push(first, token, token.encode())
            await ends_well(first, here.values(), provider)
            async with connected(second, AWAY) as devices:
                for token, device in devices.items():
                    await read_until(device, token)


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
