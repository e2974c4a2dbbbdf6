"""A Redis Cluster under two servers: pushes cross it, and a primary fails over."""

from __future__ import annotations

import pytest
import trio

from tests.fault.test_redis import HOUR, push, two, until_pushed
from tests.redis import redis_cluster
from tests.serving import PATIENCE_S, Peer

pytestmark = pytest.mark.needs("redis-server")

#: some in each partition
TOKENS = [f"{n:04x}" for n in range(40)]


async def test_a_primary_fails_over() -> None:
    with redis_cluster(replicas=1) as cluster:
        async with two(cluster) as (a, b), Peer.connected(b) as device:
            await device.listen("aa")
            for token in TOKENS:
                assert await push(a, token, token.encode(), **HOUR) == 200
            assert await push(a, "aa", b"1") == 200
            assert (await device.event()).data == "1"
            # Replication follows at once, but not at the same moment.
            await trio.sleep(0.5)
            cluster.servers[0].kill()
            for token in TOKENS:
                await until_pushed(a, token, b"later", **HOUR)
            await until_pushed(a, "aa", b"2")
            with trio.fail_after(PATIENCE_S):
                while (await device.event()).data != "2":
                    pass
            for token in TOKENS:
                async with Peer.connected(b) as late:
                    await late.listen(token)
                    assert (await late.event()).data in (token, "later")
