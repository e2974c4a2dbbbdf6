"""Accepting connections: many at a time, and never dying of it.

`serve_listeners` of trio accepts one connection per turn of the loop and lets an unknown
errno kill the server; a storm of reconnecting devices wants neither.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
import trio

log = structlog.get_logger()

#: connections accepted before other tasks get a turn
BATCH = 64
#: pause after an accept that failed for want of something: doubles from here up to a second
PAUSE_S = 0.005
PAUSE_MAX_S = 1.0

#: the connection was gone before it was accepted: Linux reports its errors here, accept(2)
_ITS_OWN_FAULT = {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
}


class Turn(Protocol):
    """Where several processes accept from one socket: whose connections are next."""

    #: connections to accept before others get their chance
    batch: int

    async def wait(self) -> None:
        """Return when it is this process's turn."""

    async def rest(self) -> None:
        """Return some time after others were quicker, and nothing was left to accept."""


class Acceptor:
    """Accepts from one listening socket and starts a task for each connection."""

    def __init__(
        self,
        listener: socket.socket,
        serve: Callable[[socket.socket], Awaitable[None]],
        handlers: trio.Nursery,
        turn: Turn | None = None,
    ) -> None:
        #: None: nobody else accepts from this socket
        self._turn = turn
        self._batch = turn.batch if turn else BATCH
        self._listener = listener
        self._serve = serve
        self._handlers = handlers
        self.accepted = 0
        #: accepts that failed, by errno name; a node that cannot accept looks idle otherwise
        self.failed: dict[str, int] = {}

    async def run(self) -> None:
        """Accept until cancelled."""
        pause = PAUSE_S
        while True:
            await trio.lowlevel.wait_readable(self._listener)
            if self._turn is not None:
                await self._turn.wait()
            try:
                before = self.accepted
                self._accept_batch()
                pause = PAUSE_S
                if self._turn is not None and self.accepted == before:
                    await self._turn.rest()
            except OSError as error:
                self._count(error)
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_S)

    def _accept_batch(self) -> None:
        """Accept what waits. Raises OSError when the next one cannot be accepted for now."""
        for _ in range(self._batch):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _ITS_OWN_FAULT:
                    continue
                raise
            sock.setblocking(False)
            self.accepted += 1
            # A name of our own: trio would build one per task, 100 bytes each.
            self._handlers.start_soon(self._serve, sock, name="connection")

    def _count(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self.failed[name] = self.failed.get(name, 0) + 1
        if self.failed[name].bit_count() == 1:  # the 1st, 2nd, 4th, 8th time
            log.warning("accept_failed", error=name, times=self.failed[name])
