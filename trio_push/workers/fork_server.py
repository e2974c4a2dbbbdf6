"""The process from which all others are forked: plain, without a loop and without threads.

It imports the server once, and the workers that it forks share that memory. The parent starts it
and tells it what to fork; it says who has ended. When the parent is gone, also by kill -9, it
sees to it that nothing is left: workers have time to say good-bye, then they are killed, and
last of all the private Redis.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import time
from functools import partial
from typing import NoReturn

from trio_push.forking import fork, freeze
from trio_push.workers.files import receive_files
from trio_push.workers.messages import (
    Ended,
    Fork,
    Forked,
    Message,
    Run,
    ToForkServer,
    Warm,
    decoder,
    encode,
)

#: seconds that workers have beyond their drain time once the parent is gone
GRACE_S = 15.0
#: what a terminal or a service manager sends to all of us at once: the parent decides what of it
SIGNALS_OF_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1

_decode = decoder(ToForkServer).decode


def main(fd: int, drain_s: float, directory: str | None) -> None:
    """Serve the parent on `fd` until it is gone. `directory` is removed at the end."""
    for number in SIGNALS_OF_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    preload()
    server = ForkServer(socket.socket(fileno=fd))
    try:
        server.serve()
        server.end_workers(drain_s + GRACE_S)
    finally:
        server.kill_all()
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)


def preload() -> None:
    """Import what workers need, and put it where the garbage collector does not touch it."""
    import trio_push.api.serve
    import trio_push.engine.client
    import trio_push.engine.redis
    import trio_push.workers.worker  # noqa: F401

    freeze()


class ForkServer:
    """Forks what the parent asks for, and reports who ends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        #: pid → key of the workers, and of programs
        self._workers: dict[int, int] = {}
        self._programs: dict[int, int] = {}
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._wake = wake

    def serve(self) -> None:
        """Do what is asked until nobody asks any more."""
        self._say(Warm())
        while True:
            readable, _, _ = select.select([self._sock.fileno(), self._woken], [], [])
            if self._woken in readable:
                self._bury()
            if self._sock.fileno() in readable:
                data, files = receive_files(self._sock)
                if not data:
                    return
                self._obey(_decode(data), files)

    def end_workers(self, patience_s: float) -> None:
        """Wait until they have ended: they notice themselves that the parent is gone."""
        deadline = time.monotonic() + patience_s
        while self._workers and (left := deadline - time.monotonic()) > 0:
            select.select([self._woken], [], [], left)
            self._bury()

    def kill_all(self) -> None:
        for pid in (*self._workers, *self._programs):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _obey(self, order: Fork | Run, files: list[int]) -> None:
        pid = fork(partial(self._become, order, files))
        for fd in files:
            os.close(fd)
        (self._workers if isinstance(order, Fork) else self._programs)[pid] = order.key
        self._say(Forked(order.key, pid))

    def _become(self, order: Fork | Run, files: list[int]) -> int:
        """What the child does; returns its exit code."""
        self._leave_the_server()
        if isinstance(order, Run):
            _run(order.command)
        from trio_push.workers.worker import work

        return work(order, files)

    def _leave_the_server(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (self._woken, self._wake):
            os.close(fd)
        self._sock.close()

    def _bury(self) -> None:
        """Report all that have ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 65_536)
        while self._workers or self._programs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            key = self._workers.pop(pid, None) or self._programs.pop(pid)
            self._say(Ended(key, os.waitstatus_to_exitcode(status)))

    def _say(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: the loop will see
            self._sock.send(encode(message))


def _run(command: list[str]) -> NoReturn:
    """Become the program: out of reach of signals for the group, and dead when we are."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_THE_GROUP)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.execv(command[0], command)
