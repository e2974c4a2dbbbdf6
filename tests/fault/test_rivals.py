"""One device token at two nodes at once: the newest connection wins, and nothing comes twice."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.fault.load import CALM_S, agree, hold, loaded, nodes
from tests.fault.network import Proxy, proxy
from tests.redis import redis_server
from tests.serving import Peer
from tests.workers.running import Crew, until
from trio_push.engine.client import ANSWER_TIMEOUT_S

pytestmark = pytest.mark.needs("redis-server")

ROUNDS = 6
HOUR = {"apns_expiration": str(int(time.time()) + 3600)}


@asynccontextmanager
async def two_and_a_way() -> AsyncIterator[tuple[Crew, Crew, Proxy]]:
    """Two nodes; the second one's way to Redis can be cut."""
    with redis_server() as redis:
        async with (
            proxy(redis) as between,
            nodes(redis.url_text, between.url) as (first, second),
        ):
            yield first, second, between


async def connections(*servers: Crew) -> int:
    return sum([(await server.get("/v1/devices"))["total"] for server in servers])


async def push(server: Crew, n: int) -> int:
    async with Peer.connected(server.url) as provider:
        body = json.dumps({"n": n}).encode()
        response = await provider.push("aa", body, apns_topic=f"t{n}", **HOUR)
        return response.status


async def is_the_only_one(device: Peer, first: int, *servers: Crew) -> None:
    """The others have gone; what is pushed at any of the servers comes to it, once."""

    async def one_is_left() -> bool:
        return await connections(*servers) == 1

    await until(one_is_left)
    for n, server in enumerate(servers, first):

        async def is_taken(n: int = n, server: Crew = server) -> bool:
            return await push(server, n) == 200

        await until(is_taken)
        assert json.loads((await device.event()).data) == {"n": n}


async def test_the_newest_wins_again_and_again() -> None:
    async with two_and_a_way() as (first, second, _):
        async with Peer.connected(first.url) as peer:
            await peer.listen("aa")
        older: Peer | None = None
        async with trio.open_nursery() as nursery:
            for n in range(ROUNDS):
                newest = await nursery.start(hold, (first, second)[n % 2], "aa")
                if older is not None:
                    assert await older.events(may_be_reset=True) == []
                await is_the_only_one(newest, 10 * n, first, second)
                older = newest
            nursery.cancel_scope.cancel()


async def test_rivals_lose_nothing_and_get_nothing_twice() -> None:
    tokens = [token for token in ("aa", "bb", "cc") for _ in range(4)]
    async with (
        two_and_a_way() as (first, second, _),
        loaded(first, second, tokens=tokens) as load,
    ):
        await trio.sleep(6 * CALM_S)
        await agree(load, first, second)


async def test_rivals_while_one_node_is_cut_off() -> None:
    tokens = [token for token in ("aa", "bb", "cc") for _ in range(4)]
    async with (
        two_and_a_way() as (first, second, way),
        loaded(first, second, tokens=tokens) as load,
    ):
        await trio.sleep(CALM_S)
        way.cut()
        await trio.sleep(8)
        way.mend()
        await trio.sleep(4 * CALM_S)
        await agree(load, first, second)


@pytest.mark.parametrize("newest_is_cut_off", [True, False])
async def test_the_newest_wins_when_the_way_is_mended(newest_is_cut_off: bool) -> None:
    async with two_and_a_way() as (first, second, way), trio.open_nursery() as nursery:
        way.cut()
        await second.logged("redis_failed")
        servers = (first, second) if newest_is_cut_off else (second, first)
        older = await nursery.start(hold, servers[0], "aa")
        newest = await nursery.start(hold, servers[1], "aa")
        assert await connections(first, second) == 2
        way.mend()
        await second.logged("redis_recovered")
        assert await older.events(may_be_reset=True) == []
        await is_the_only_one(newest, 0, first, second)
        nursery.cancel_scope.cancel()


async def test_a_claim_that_comes_late_does_no_harm() -> None:
    """The device was here, asked for in vain, and has gone to the other node since."""
    async with two_and_a_way() as (first, second, way), trio.open_nursery() as nursery:
        way.cut()
        async with Peer.connected(second.url) as peer:
            await peer.listen("aa")
        await second.logged("redis_failed")
        await trio.sleep(ANSWER_TIMEOUT_S)  # by now it has been given up
        device = await nursery.start(hold, first, "aa")
        way.mend()
        await second.logged("redis_recovered")
        await is_the_only_one(device, 0, first, second)
        nursery.cancel_scope.cancel()
