"""The fork server as the parent sees it: started, asked to fork, started again when it dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog
import trio

from trio_push.workers.files import pair, receive_files, send_files
from trio_push.workers.messages import (
    Ended,
    Fork,
    Forked,
    FromForkServer,
    Run,
    Warm,
    decoder,
    encode,
)

log = structlog.get_logger()

#: seconds before it is started again
PAUSE_S = 1.0
#: seconds that it has, once everything has ended, to end too
END_S = 5.0
#: not -m: what it imports is to be found where we have found it, wherever we have been started
_BOOTSTRAP = (
    "import json, sys; fd, drain_s, directory, sys.path = json.loads(sys.argv[1]);"
    " from trio_push.workers.fork_server import main; main(fd, drain_s, directory)"
)

_decode = decoder(FromForkServer).decode


class Child:
    """What the fork server has said of one process."""

    def __init__(self) -> None:
        #: None until it is forked, and when it never was
        self.pid: int | None = None
        #: exit code, or a signal's number below zero; None until it has ended, or if nobody saw
        self.code: int | None = None
        #: it has ended, or what became of it is not to be learnt any more
        self.ended = trio.Event()

    def kill(self) -> None:
        """To be called only while it is known to live."""
        if self.pid is not None and self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """Asks for processes. Made by `open_fork_server`."""

    def __init__(self, drain_s: float, directory: str | None) -> None:
        self._drain_s = drain_s
        self._directory = directory
        self._sock: socket.socket | None = None
        self._children: dict[int, Child] = {}

    def fork(self, order: Fork | Run, files: Sequence[int] = ()) -> Child:
        """Have a process forked, under a key that none has; one that cannot be has ended."""
        child = self._children[order.key] = Child()
        try:
            if self._sock is None:
                raise BrokenPipeError
            send_files(self._sock, encode(order), files)
        except OSError as error:
            log.warning("fork_failed", error=str(error))
            self._end(order.key, None)
        return child

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a fork server running until cancelled; then wait for its end."""
        while True:
            ours, theirs = pair()
            with ours:
                process = await self._start(theirs)
                try:
                    await self._listen(ours, task_status)
                finally:
                    self._sock = None
                    ours.close()  # so that it ends, and what it has forked
                    with trio.CancelScope(deadline=trio.current_time() + END_S, shield=True):
                        await process.wait()
            for key in list(self._children):
                self._end(key, None)
            log.error("fork_server_ended", code=process.returncode)
            await trio.sleep(PAUSE_S)

    async def _start(self, theirs: socket.socket) -> trio.Process:
        path = [each or str(Path.cwd()) for each in sys.path]
        arguments = json.dumps([theirs.fileno(), self._drain_s, self._directory, path])
        with theirs:
            return await trio.lowlevel.open_process(
                [sys.executable, "-c", _BOOTSTRAP, arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    async def _listen(self, ours: socket.socket, task_status: trio.TaskStatus[None]) -> None:
        ours.setblocking(False)
        while True:
            await trio.lowlevel.wait_readable(ours)
            data, _ = receive_files(ours)
            if not data:
                return
            match _decode(data):
                case Warm():
                    self._sock = ours
                    with suppress(RuntimeError):  # not the first
                        task_status.started()
                case Forked(key, pid):
                    self._children[key].pid = pid
                case Ended(key, code):
                    self._end(key, code)

    def _end(self, key: int, code: int | None) -> None:
        child = self._children.pop(key)
        child.code = code
        child.ended.set()


@asynccontextmanager
async def open_fork_server(drain_s: float, directory: str | None) -> AsyncIterator[ForkServer]:
    """A fork server that is warm, for as long as the block runs."""
    async with trio.open_nursery() as nursery:
        server = ForkServer(drain_s, directory)
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()
