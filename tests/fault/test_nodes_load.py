"""Nodes on one Redis, under load, while Redis or one of them is killed, stopped, full."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest
import trio
import trustme

from tests.fault.load import CALM_S, IN_HAND, agree, hold, loaded, nodes, two_nodes_on
from tests.fault.network import proxy
from tests.redis import RedisServer, redis_cluster, redis_server, redis_with_tls
from tests.serving import Peer
from tests.workers.running import Crew, crew_of, until
from trio_push.engine.client import MAX_CONNECTIONS, open_redis
from trio_push.engine.members import LEASE_S
from trio_push.engine.url import RedisUrl
from trio_push.errors import Unreachable

pytestmark = pytest.mark.needs("redis-server")


async def test_redis_is_killed_and_started_again() -> None:
    with redis_server() as redis:
        async with two_nodes_on(redis):
            redis.kill()
            await trio.sleep(CALM_S)
            redis.start()
            await trio.sleep(CALM_S)
            redis.kill()
            await trio.sleep(CALM_S)
            redis.start()


async def test_redis_stands_still() -> None:
    with redis_server() as redis:
        async with two_nodes_on(redis):
            redis.pause()
            await trio.sleep(LEASE_S + 1)
            redis.go_on()


async def test_a_node_stands_still_past_its_lease() -> None:
    with redis_server() as redis:
        async with two_nodes_on(redis) as both:
            os.kill(both[0].process.pid, signal.SIGSTOP)
            try:
                await trio.sleep(LEASE_S + 2)
            finally:
                os.kill(both[0].process.pid, signal.SIGCONT)


async def test_a_primary_of_the_cluster_fails_over() -> None:
    with redis_cluster(replicas=1) as cluster:
        url = cluster.url_text
        async with nodes(url, url) as both, loaded(*both) as load:
            await trio.sleep(2 * CALM_S)
            cluster.servers[0].kill()
            await trio.sleep(10)
            await agree(load, *both)


async def test_redis_is_slow() -> None:
    """All is late and nothing else; and the many who come wait for no connection of a pool."""
    crowd = [f"ab{n:02x}" for n in range(150)]
    with redis_server() as redis:
        async with (
            proxy(redis) as way,
            nodes(way.url, way.url) as both,
            loaded(*both) as load,
        ):
            await trio.sleep(CALM_S)
            way.delay_s = 0.3
            async with trio.open_nursery() as nursery:
                for token in crowd:
                    nursery.start_soon(hold, both[0], token)
                await until(lambda: are_in(both[0], crowd))
                [clients] = [line for line in info(redis) if line.startswith("connected_clients:")]
                assert int(clients.partition(":")[2]) <= len(both) * MAX_CONNECTIONS + 1
                nursery.cancel_scope.cancel()
            await trio.sleep(4 * CALM_S)
            way.delay_s = 0.0
            await agree(load, *both)


async def are_in(node: Crew, tokens: Collection[str]) -> bool:
    return set(tokens) <= await node.tokens()


def info(redis: RedisServer) -> list[str]:
    command = ["redis-cli", "-s", str(redis.socket), "INFO", "clients"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


async def test_redis_is_full() -> None:
    """What it cannot promise is refused, what is here is delivered, and it all comes back."""
    with redis_server("--maxmemory-policy", "noeviction") as redis:
        url = redis.url_text
        async with nodes(url, url) as both, loaded(*both) as load:
            await trio.sleep(CALM_S)
            limit(redis, 1)
            for node in both:
                await node.logged("redis_failed")
            await refuses(both[0])
            # and a device that comes now is served where it is
            async with Peer.connected(both[0].url) as device:
                await device.listen("ee")
                async with Peer.connected(both[0].url) as provider:
                    assert (await provider.push("ee", b"live")).status == 200
                assert (await device.event()).data == "live"
            limit(redis, 0)
            for node in both:
                await node.logged("redis_recovered")
            await trio.sleep(2 * CALM_S)
            load.account.events[both[0].url] += 1
            load.account.accepted[both[0].url] += 1
            await agree(load, *both)


def limit(redis: RedisServer, memory: int) -> None:
    assert redis.says(f"CONFIG SET maxmemory {memory}", b"+OK")


async def refuses(node: Crew) -> None:
    async with Peer.connected(node.url) as provider:
        response = await provider.push("dd", apns_expiration="4000000000")
        assert response.status == 503
    assert "OOM" in (await node.get("/readyz", status=503))["detail"]


async def test_a_parent_is_killed_and_another_node_goes_on() -> None:
    with redis_server() as redis:
        async with (
            nodes(redis.url_text) as [survivor],
            crew_of(2, "--redis", redis.url_text) as crew,
            loaded(survivor, crew) as load,
        ):
            await trio.sleep(2 * CALM_S)
            load.urls.remove(crew.url)
            crew.process.kill()
            await trio.sleep(4 * CALM_S)
            await agree(load, survivor)


async def test_a_node_is_killed_and_another_goes_on() -> None:
    with redis_server() as redis:
        async with (
            nodes(redis.url_text) as [survivor],
            nodes(redis.url_text) as [victim],
            loaded(survivor, victim) as load,
        ):
            await trio.sleep(2 * CALM_S)
            load.urls.remove(victim.url)
            victim.process.kill()
            await trio.sleep(4 * CALM_S)
            # What it had in hand, the survivor did again.
            await agree(load, survivor, doubles=IN_HAND)


async def test_over_tls(tmp_path: Path) -> None:
    with redis_with_tls(tmp_path) as url:
        async with nodes(url, url) as both, loaded(*both) as load:
            await trio.sleep(2 * CALM_S)
            await agree(load, *both)


async def test_a_redis_that_is_not_to_be_trusted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    trustme.CA().cert_pem.write_to_path(tmp_path / "other" / "ca.pem")
    with redis_with_tls(tmp_path) as url:
        for wrong in (url.partition("?")[0], url.replace("/ca.pem", "/other/ca.pem")):
            with pytest.raises(Unreachable, match="is not trusted: self-signed certificate"):
                async with open_redis(RedisUrl.parse(wrong)):
                    pass
        elsewhere = url.replace("localhost", "127.0.0.1")
        with pytest.raises(Unreachable, match="is not trusted: IP address mismatch"):
            async with open_redis(RedisUrl.parse(elsewhere)):
                pass
