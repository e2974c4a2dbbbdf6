"""The processes of a swarm's workers, as its parent sees them: a stream to each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

#: a worker ends its devices within that time, or is killed
END_S = 20.0
#: how a worker ended is known soon after that it did
_NEWS_S = 2.0


@dataclass(frozen=True, slots=True)
class Link:
    """One worker that was started."""

    #: for people
    name: str
    stream: trio.abc.Stream
    #: waits for how the worker ended, in words, and not for long
    how_ended: Callable[[], Awaitable[str]]
    #: how much its clock is ahead of ours
    ahead_s: float = 0.0


@asynccontextmanager
async def forked(count: int) -> AsyncIterator[Sequence[Link]]:
    """`count` workers on this machine. They are gone afterwards.

    In a session of their own: a Ctrl-C is for the parent, which tells them.
    """
    pairs = [socket.socketpair() for _ in range(count)]
    streams = [trio.SocketStream(trio.socket.from_stdlib_socket(ours)) for ours, _ in pairs]
    files = [theirs.fileno() for _, theirs in pairs]
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "trio_push.swarm.fork_server", *map(str, files)],
            pass_fds=files,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        for _, theirs in pairs:
            theirs.close()
    endings = _Endings(count)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endings.read, process)
        try:
            yield [
                Link(f"worker {number}", stream, endings.of(number))
                for number, stream in enumerate(streams)
            ]
        finally:
            for stream in streams:
                stream.socket.close()
            with trio.CancelScope(shield=True):
                await _end(process)
            nursery.cancel_scope.cancel()


class _Endings:
    """How each worker ended, as the process says that started them."""

    def __init__(self, count: int) -> None:
        self._known = [trio.Event() for _ in range(count)]
        self._codes: dict[int, int] = {}

    async def read(self, process: trio.Process) -> None:
        """Take in what it says, until it ends."""
        assert process.stdout is not None
        text = b""
        async with process.stdout as stdout:
            async for data in stdout:
                *lines, text = (text + data).split(b"\n")
                for line in lines:
                    number, code = map(int, line.split())
                    self._codes[number] = code
                    self._known[number].set()

    def of(self, number: int) -> Callable[[], Awaitable[str]]:
        async def how_ended() -> str:
            with trio.move_on_after(_NEWS_S):
                await self._known[number].wait()
            code = self._codes.get(number)
            if code is None:
                return "does not answer any more"
            return f"was ended by {_signal(-code)}" if code < 0 else f"ended with code {code}"

        return how_ended


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _end(process: trio.Process) -> None:
    """Wait until all have ended, as workers do without their parent; not for ever."""
    with trio.move_on_after(END_S):
        await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
