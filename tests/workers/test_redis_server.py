from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.serving import PATIENCE_S
from tests.workers.running import until
from trio_push.errors import ConfigError
from trio_push.workers.forking import open_fork_server
from trio_push.workers.redis_server import PrivateRedis, find


def test_without_one_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"apt install redis-server.*--redis URL"):
        find()


async def say(path: Path, command: bytes) -> bytes:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(command + b"\r\n")
        return bytes(await stream.receive_some())


@pytest.mark.needs("redis-server")
async def test_it_is_ours_alone_and_comes_back(tmp_path: Path, tool: Callable[[str], str]) -> None:
    path = tmp_path / "redis.sock"
    async with open_fork_server(0.0, None) as forks, trio.open_nursery() as nursery:
        redis = PrivateRedis(forks, tool("redis-server"), tmp_path)
        assert redis.url == f"unix:{path}"
        with trio.fail_after(PATIENCE_S):
            await nursery.start(redis.run)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert b"\r\n0\r\n" in await say(path, b"CONFIG GET port")
        info = await say(path, b"INFO server")
        pid = int(info.partition(b"process_id:")[2].split()[0])
        os.kill(pid, signal.SIGKILL)

        async def is_back() -> bool:
            try:
                return await say(path, b"PING") == b"+PONG\r\n"
            except (OSError, trio.BrokenResourceError):
                return False

        await until(is_back)
        nursery.cancel_scope.cancel()


async def test_one_that_does_not_start_is_a_wrong_setting(tmp_path: Path) -> None:
    async with open_fork_server(0.0, None) as forks:
        redis = PrivateRedis(forks, "/bin/false", tmp_path)
        with pytest.raises(ConfigError, match="does not start: it says nothing"):
            await redis.run()
