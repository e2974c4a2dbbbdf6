"""`trio-push serve` as a process of its own, for what only a process can be done to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.serving import PATIENCE_S

ROOT = Path(__file__).parents[2]
#: with which a server of limited files begins
FEW_FILES = 128


class Serve:
    """The running process; `url` is its wire listener, `api` its API's if it has one."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.url = ""
        self.api = ""
        #: what it has logged
        self.log: list[dict[str, Any]] = []
        self._logged = trio.Event()

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        rest = b""
        async for data in self.process.stderr:
            *lines, rest = (rest + data).split(b"\n")
            self.log += [json.loads(line) for line in lines]
            self._logged.set()
            self._logged = trio.Event()

    async def logged(self, event: str) -> dict[str, Any]:
        """The first line about that event, as soon as it is there."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for line in self.log:
                    if line["event"] == event:
                        return line
                await self._logged.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> tuple[int, float]:
        """Exit code, and how many seconds it took from now."""
        start = trio.current_time()
        with trio.fail_after(PATIENCE_S):
            code = await self.process.wait()
        return code, trio.current_time() - start


@asynccontextmanager
async def serve(
    *flags: str, api: str = "off", open_files: int | None = None, kind: type[Serve] = Serve
) -> AsyncIterator[Serve]:
    """A server on a free port that may open so many files at most; killed if it is still there."""
    command = [sys.executable, "-m", "trio_push", "serve", "--listen", "127.0.0.1:0"]
    if open_files is not None:
        # as a login has it: few to begin with, and more for who raises its own limit
        limits = f'ulimit -Sn {FEW_FILES}; ulimit -Hn {open_files}; exec "$0" "$@"'
        command = ["sh", "-c", limits, *command]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [*command, "--api", api, "--log-format", "json", *flags],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            running = kind(process)
            nursery.start_soon(running.read_log)
            await running.logged("ready")
            urls = {line["listener"]: line["url"] for line in running.log if "listener" in line}
            running.url, running.api = urls["wire"], urls.get("api", "")
            yield running
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
