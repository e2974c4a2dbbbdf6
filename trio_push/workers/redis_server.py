"""The private Redis of workers for whom no other is named: on a Unix socket, in memory only.

The fork server starts it and ends it, last of all. When it dies it is started again, empty: the
nodes bring back what they know.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import trio

from trio_push.errors import ConfigError
from trio_push.workers.backoff import Backoff
from trio_push.workers.forking import ForkServer
from trio_push.workers.messages import Run

log = structlog.get_logger()

#: the keys of workers begin at 1
KEY: Final = 0
#: seconds that it has to answer for the first time
START_S: Final = 10.0

MISSING: Final = (
    "--workers needs Redis, and there is no redis-server: install it (apt install redis-server, "
    "dnf install redis, brew install redis), or name one that runs with --redis URL"
)


def find() -> str:
    """Where redis-server is. Raises ConfigError when it is nowhere."""
    path = shutil.which("redis-server")
    if path is None:
        raise ConfigError(MISSING)
    return path


class PrivateRedis:
    """One redis-server in a directory of its own."""

    def __init__(self, forks: ForkServer, path: str, directory: Path) -> None:
        self._forks = forks
        self._path = path
        self._directory = directory
        self._socket = directory / "redis.sock"
        self._backoff = Backoff(random.random)
        self.url = f"unix:{self._socket}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it running until cancelled. Raises ConfigError when it does not start at all."""
        started: Callable[[], None] | None = task_status.started
        while True:
            began = trio.current_time()
            self._directory.mkdir(mode=0o700, exist_ok=True)
            child = self._forks.fork(Run(KEY, self._command()))
            if started is not None:
                with trio.move_on_after(START_S):
                    await self._wait_answering(child.ended)
                if child.ended.is_set() or not await self._answers():
                    raise ConfigError(f"the private redis-server does not start: {self._said()}")
                started()
                started = None
            await child.ended.wait()
            log.error("redis_ended", code=child.code)
            await trio.sleep(self._backoff.delay_s(trio.current_time() - began))

    async def _wait_answering(self, ended: trio.Event) -> None:
        while not ended.is_set() and not await self._answers():
            await trio.sleep(0.01)

    async def _answers(self) -> bool:
        try:
            async with await trio.open_unix_socket(self._socket) as stream:
                await stream.send_all(b"PING\r\n")
                return bytes(await stream.receive_some()).startswith(b"+PONG")
        except (OSError, trio.BrokenResourceError):
            return False

    def _said(self) -> str:
        """The end of its log."""
        try:
            lines = (self._directory / "redis.log").read_text().splitlines()
        except OSError:
            return "it says nothing"
        return lines[-1] if lines else "it says nothing"

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "logfile": "redis.log",
            "loglevel": "warning",
            "daemonize": "no",
            "save": "",
            "appendonly": "no",
        }
        flags = (part for name, value in options.items() for part in (f"--{name}", value))
        return [self._path, *flags]
