"""Redis stopped, killed and paused under two servers, as devices and providers see it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from tests.fault.process import serve
from tests.redis import RedisCluster, RedisServer, redis_server
from tests.serving import PATIENCE_S, Peer, serving
from trio_push.errors import ConfigError, Unreachable
from trio_push.server import Server

pytestmark = pytest.mark.needs("redis-server")

HOUR = {"apns_expiration": "4000000000"}


@asynccontextmanager
async def two(redis: RedisServer | RedisCluster) -> AsyncIterator[tuple[Server, Server]]:
    settings = {"redis": redis.url_text, "sound": False, "api": "127.0.0.1:0"}
    async with serving(**settings) as a, serving(**settings) as b:
        await until(lambda: len(a.node.engine.members.living) == 2)
        yield a, b
        for node in (a.node, b.node):
            books = node.ledger.snapshot(node.router.held())
            assert books["balanced"], books


async def until(condition) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.01)


async def push(server: Server, token: str, payload: bytes, **headers: str) -> int:
    async with Peer.connected(server) as peer:
        return (await peer.push(token, payload, **headers)).status


async def ready(server: Server) -> int:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{server.addresses.api}/readyz")).status_code


async def test_two_servers_are_one() -> None:
    with redis_server() as redis:
        async with two(redis) as (a, b), Peer.connected(b) as device:
            await device.listen("aa")
            assert await push(a, "aa", b"1") == 200
            assert (await device.event()).data == "1"
            assert await push(b, "bb", b"2", **HOUR) == 200
            async with Peer.connected(a) as other:
                await other.listen("bb")
                event = await other.event()
                assert event.data == "2"
            # and where it left off, at the other one
            assert await push(a, "bb", b"3", **HOUR) == 200
            async with Peer.connected(b) as other:
                await other.listen("bb", last_event_id=event.id)
                sync = await other.event()
                assert (sync.event, '"recovered":true' in sync.data) == ("sync_result", True)
                assert (await other.event()).data == "3"


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_redis_goes_and_comes_back(how: str) -> None:
    with redis_server() as redis:
        async with two(redis) as (a, b), Peer.connected(a) as here, Peer.connected(b) as there:
            await here.listen("aa")
            await there.listen("bb")
            assert await push(b, "cc", b"stored", **HOUR) == 200
            redis.kill() if how == "kill" else redis.pause()
            await until(lambda: a.node.journal.failure and b.node.journal.failure)
            assert await ready(a) == 503
            # live and local goes on, what cannot be promised is refused
            assert await push(a, "aa", b"1") == 200
            assert (await here.event()).data == "1"
            assert await push(a, "bb", b"2") == 503
            assert await push(a, "dd", b"3", **HOUR) == 503
            async with Peer.connected(a) as late:
                await late.listen("ee")
                assert await push(a, "ee", b"4") == 200
                assert (await late.event()).data == "4"
                redis.start() if how == "kill" else redis.go_on()
                await until(lambda: not a.node.journal.failure and not b.node.journal.failure)
                # It all comes back by itself: who came meanwhile, and what was stored before.
                await until_pushed(b, "ee", b"5")
                assert (await late.event()).data == "5"
            await until_pushed(a, "bb", b"6")
            assert (await there.event()).data in ("2", "6")
            async with Peer.connected(a) as owner:
                await owner.listen("cc")
                assert (await owner.event()).data == "stored"
            assert await ready(a) == 200


async def until_pushed(server: Server, token: str, payload: bytes, **headers: str) -> None:
    """As a provider does: again until it is taken."""
    with trio.fail_after(PATIENCE_S):
        while await push(server, token, payload, **headers) != 200:
            await trio.sleep(0.2)


async def test_a_worker_is_killed() -> None:
    """Its devices come to another node, and get what was stored; so is what was in its inbox."""
    with redis_server() as redis:
        async with (
            serve("--redis", redis.url_text) as victim,
            serving(redis=redis.url_text, sound=False) as a,
        ):
            await until(lambda: len(a.node.engine.members.living) == 2)
            async with Peer.connected(victim.url) as device:
                await device.listen("aa")
                assert await push(a, "aa", b"1", **HOUR) == 200
                assert (await device.event()).data == "1"
                # It takes a while until the others know that it is dead.
                victim.process.send_signal(signal.SIGSTOP)
                assert await push(a, "aa", b"2", **HOUR) == 200
                victim.process.kill()
            async with Peer.connected(a) as device:
                await device.listen("aa")
                with trio.fail_after(PATIENCE_S):
                    while (await device.event()).data != "2":
                        pass


async def test_a_redis_that_is_not_there(tmp_path: Path) -> None:
    with pytest.RaisesGroup(Unreachable, allow_unwrapped=True, flatten_subgroups=True):
        async with serving(redis=f"unix:{tmp_path}/none", sound=False):
            pass


async def test_settings_are_refused_as_without_redis() -> None:
    refused = pytest.RaisesGroup(ConfigError, allow_unwrapped=True, flatten_subgroups=True)
    with redis_server() as redis, refused:
        async with serving(redis=redis.url_text, api_key_file="/no/such/file", sound=False):
            pass
