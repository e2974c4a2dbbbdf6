"""Every test of this folder may use a redis-server, and nodes that share memory or a Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from tests.engine.nodes import Nodes, OneNode, until
from tests.redis import redis_server
from tests.redis_fixtures import redis as redis
from trio_push.engine.client import open_link
from trio_push.engine.memory import MemoryShared
from trio_push.engine.redis import RedisShared


@pytest.fixture(params=["memory", "redis"])
async def nodes(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Nodes]:
    if request.param == "memory":
        nodes = Nodes(MemoryShared(), nursery)
        yield nodes
        nodes.check()
        nursery.cancel_scope.cancel()
        return
    with redis_server() as server:
        async with open_link(server.url) as link:
            nodes = Nodes(RedisShared(link, "t"), nursery)
            yield nodes
            nodes.check()
            nursery.cancel_scope.cancel()
            for node in nodes.all:
                node.kill()
            await trio.sleep(0.01)


@pytest.fixture
async def a(nodes: Nodes) -> OneNode:
    return await nodes.start()


@pytest.fixture
async def b(nodes: Nodes, a: OneNode) -> OneNode:
    node = await nodes.start()
    await until(lambda: len(a.engine.members.living) == 2)
    return node


@pytest.fixture
async def c(nodes: Nodes, a: OneNode, b: OneNode) -> OneNode:
    node = await nodes.start()
    await until(lambda: all(len(each.engine.members.living) == 3 for each in (a, b, node)))
    return node
