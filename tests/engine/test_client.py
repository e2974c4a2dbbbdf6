from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trustme

from tests.redis import RedisServer, free_ports, redis_cluster, redis_server
from tests.serving import PATIENCE_S
from trio_push.engine.client import REDIS_ERRORS, open_link, open_redis
from trio_push.engine.redis import RedisShared
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


@pytest.mark.needs("redis-server")
async def test_over_tls_as_somebody(tmp_path: Path) -> None:
    ours, another = trustme.CA(), trustme.CA()
    files = {name: tmp_path / name for name in ("ca", "other", "cert", "key")}
    ours.cert_pem.write_to_path(str(files["ca"]))
    another.cert_pem.write_to_path(str(files["other"]))
    cert = ours.issue_cert("127.0.0.1")
    cert.cert_chain_pems[0].write_to_path(str(files["cert"]))
    cert.private_key_pem.write_to_path(str(files["key"]))
    [port] = free_ports(1)
    options = {
        "--tls-port": str(port),
        "--tls-cert-file": str(files["cert"]),
        "--tls-key-file": str(files["key"]),
        "--tls-ca-cert-file": str(files["ca"]),
        "--tls-auth-clients": "no",
    }
    user = ("--user", "me", "on", ">p@ss", "~*", "+@all")
    with redis_server(*(part for pair in options.items() for part in pair), *user):
        async with open_link(url_of("p%40ss", port, files["ca"])) as link:
            assert not (await RedisShared(link, "t").beat("a", 60)).was_alive
            assert (await RedisShared(link, "t").beat("a", 60)).was_alive
        for wrong in (url_of("p%40ss", port, files["other"]), url_of("other", port, files["ca"])):
            with pytest.raises(Unreachable):
                async with open_link(wrong):
                    pass


def url_of(password: str, port: int, ca: Path) -> RedisUrl:
    return RedisUrl.parse(f"rediss://me:{password}@127.0.0.1:{port}?ca={ca}")


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
