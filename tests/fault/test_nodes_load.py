"""Two nodes on one Redis, under load, while Redis is killed, stopped, full and cut off."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from tests.fault.load import CALM_S, agree, loaded, nodes
from tests.redis import redis_cluster, redis_server
from trio_push.engine.members import LEASE_S

pytestmark = pytest.mark.needs("redis-server")


async def test_calm() -> None:
    with redis_server() as redis:
        async with nodes(redis.url_text, redis.url_text) as both, loaded(*both) as load:
            await trio.sleep(2)
            print(await agree(load, *both, doubles=0), load.account.doubles)


async def test_redis_is_killed_and_started_again() -> None:
    with redis_server() as redis:
        async with nodes(redis.url_text, redis.url_text) as both, loaded(*both) as load:
            for _ in range(2):
                await trio.sleep(CALM_S)
                redis.kill()
                await trio.sleep(CALM_S)
                redis.start()
            await trio.sleep(4 * CALM_S)
            print(await agree(load, *both), load.account.doubles)


async def test_redis_stands_still() -> None:
    with redis_server() as redis:
        async with nodes(redis.url_text, redis.url_text) as both, loaded(*both) as load:
            await trio.sleep(CALM_S)
            redis.pause()
            await trio.sleep(LEASE_S + 1)
            redis.go_on()
            await trio.sleep(4 * CALM_S)
            print(await agree(load, *both), load.account.doubles)


async def test_a_node_stands_still_past_its_lease() -> None:
    with redis_server() as redis:
        async with nodes(redis.url_text, redis.url_text) as both, loaded(*both) as load:
            await trio.sleep(CALM_S)
            os.kill(both[0].process.pid, signal.SIGSTOP)
            try:
                await trio.sleep(LEASE_S + 2)
            finally:
                os.kill(both[0].process.pid, signal.SIGCONT)
            await trio.sleep(4 * CALM_S)
            print(await agree(load, *both), load.account.doubles)


async def test_a_primary_of_the_cluster_fails_over() -> None:
    with redis_cluster(replicas=1) as cluster:
        url = cluster.url_text
        async with nodes(url, url) as both, loaded(*both) as load:
            await trio.sleep(2 * CALM_S)
            cluster.servers[0].kill()
            await trio.sleep(10)
            print(await agree(load, *both), load.account.doubles)
