from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.redis import RedisServer, redis_cluster
from tests.serving import PATIENCE_S
from trio_push.engine.client import REDIS_ERRORS, open_link, open_redis
from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError, StoreFailed, Unreachable


@pytest.mark.needs("redis-server")
async def test_it_comes_back_by_itself(redis: RedisServer) -> None:
    async with open_redis(redis.url) as client:
        await client.set("a", "b")
        redis.kill()
        with pytest.raises(REDIS_ERRORS):
            await client.get("a")
        redis.start()
        with trio.fail_after(PATIENCE_S):
            while True:
                try:
                    assert await client.get("a") == b"b"
                    break
                except REDIS_ERRORS:
                    await trio.sleep(0.01)


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"Redis at unix:.* does not answer"):
        async with open_redis(RedisUrl(path=str(tmp_path / "none.sock"))):
            pass


async def test_certificates_that_are_not_there() -> None:
    url = RedisUrl.parse("rediss://localhost?ca=/no/such/file")
    with pytest.raises(ConfigError, match="/no/such/file cannot be used"):
        async with open_redis(url):
            pass


@pytest.mark.needs("redis-server")
async def test_a_client_of_a_cluster_is_replaced_without_a_gap() -> None:
    with redis_cluster() as cluster:
        async with open_link(cluster.url) as link:
            first = link.client
            assert isinstance(link.failed(OSError("gone")), StoreFailed)
            with trio.fail_after(PATIENCE_S):
                while link.client is first:
                    await link.client.get("a")
                    await trio.sleep(0.01)
            assert await first.get("a") is await link.client.get("a") is None


async def test_a_link_to_nowhere(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        async with open_link(RedisUrl(path=str(tmp_path / "none.sock"))):
            pass
