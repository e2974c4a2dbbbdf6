"""The way between a node and Redis is cut, under load, while the other node goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
import trio

from tests.fault.load import CALM_S, agree, loaded, nodes
from tests.fault.network import island, proxy
from tests.redis import redis_server
from trio_push.engine.client import ANSWER_TIMEOUT_S
from trio_push.engine.members import LEASE_S

pytestmark = pytest.mark.needs("redis-server")

#: the way is cut for as long as is noticed, or for so long that the node is taken for dead
SHORT_S, LONG_S = ANSWER_TIMEOUT_S + 2, LEASE_S + 3


class Way(Protocol):
    """Between the second node and Redis."""

    def cut(self) -> None: ...

    def mend(self) -> None: ...


@asynccontextmanager
async def by_proxy() -> AsyncIterator[tuple[str, str, Way]]:
    with redis_server() as redis:
        async with proxy(redis) as between:
            yield redis.url_text, between.url, between


@asynccontextmanager
async def by_cable() -> AsyncIterator[tuple[str, str, Way]]:
    with island(cables=2) as there:
        options = ("--protected-mode", "no")
        with redis_server(*options, port=6379, within=there.enter):
            here, cut = (f"redis://{host}:6379" for _, host in there.ends)
            yield here, cut, there


@pytest.mark.parametrize(("how", "cut_s"), [(by_proxy, SHORT_S), (by_cable, LONG_S)])
async def test_nothing_is_lost_when_a_node_is_cut_off(how, cut_s: float) -> None:
    async with how() as (here, there, way), nodes(here, there) as both, loaded(*both) as load:
        await trio.sleep(CALM_S)
        way.cut()
        await trio.sleep(cut_s)
        way.mend()
        await trio.sleep(4 * CALM_S)
        await agree(load, *both)
