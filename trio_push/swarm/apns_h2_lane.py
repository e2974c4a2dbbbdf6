"""Pushes by APNs over HTTP/2, many at a time: by prior knowledge, or over TLS."""

from __future__ import annotations

import math
import socket

import trio

from trio_push.errors import ProtocolError, Unreachable
from trio_push.sockets import receive_some, send_all
from trio_push.swarm.audit import Audit
from trio_push.swarm.h2_pushes import H2Pushes
from trio_push.swarm.http1 import ANSWER_S, FIRST_PAUSE_S, LONGEST_PAUSE_S
from trio_push.swarm.lane import Planned
from trio_push.swarm.target import CONNECT_S, Target, open_connection


class ApnsHttp2Lane:
    """Keeps one connection. When it breaks, what was on the way is unanswered."""

    delay_s = 0.0

    def __init__(
        self, target: Target, audit: Audit, topic: str | None, *, api_key: str | None = None
    ) -> None:
        self._target = target
        self._audit = audit
        self._topic = topic
        self._api_key = api_key

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        pause_s = FIRST_PAUSE_S
        over = False
        while not over:
            try:
                sock = await open_connection(self._target, timeout_s=CONNECT_S, alpn=("h2",))
            except Unreachable:
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = FIRST_PAUSE_S
            session = H2Pushes(
                self._target.scheme, self._target.authority, self._topic, self._api_key
            )
            with sock:
                over = await _Connection(sock, session, self._audit).run(pushes)


class _Connection:
    """A task that starts pushes, one that writes and one that reads.

    The reader never writes: it and the server would wait for each other to read.
    """

    def __init__(self, sock: socket.socket, session: H2Pushes, audit: Audit) -> None:
        self._socket = sock
        self._session = session
        self._audit = audit
        #: the plan has ended: so does the connection with the last answer
        self._over = False
        #: set when there may be something to write, when there may be room for a push
        self._to_write = trio.Event()
        self._room = trio.Event()
        #: answers are waited for, but not for ever
        self._patience = trio.CancelScope()

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> bool:
        """Send until `pushes` ends (returns True) or the connection does (False)."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._start, pushes)
                with self._patience:
                    await self._read()
                nursery.cancel_scope.cancel()
        finally:
            for push in self._session.on_the_way:
                self._audit.leave_unanswered(push.to, push.n)
        return self._over

    async def _start(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        session = self._session
        while True:
            # before a push is taken: one that waits here is the next connection's
            await self._wait_room()
            try:
                await self._start_one(await pushes.receive())
                while session.has_room:
                    session.start(pushes.receive_nowait())
            except trio.WouldBlock:
                pass  # all that waited are started
            except trio.EndOfChannel:
                break
            self._to_write.set()
            if self._patience.deadline == math.inf:
                self._patience.deadline = trio.current_time() + ANSWER_S
        self._over = True
        self._to_write.set()
        if not session.open_streams:
            self._patience.cancel()

    async def _wait_room(self) -> None:
        while not self._session.has_room:
            self._room = trio.Event()
            await self._room.wait()

    async def _start_one(self, push: Planned) -> None:
        """Start a push, for which the server may have taken the room back meanwhile."""
        is_started = False
        try:
            await self._wait_room()
            self._session.start(push)
            is_started = True
        finally:
            if not is_started:
                self._audit.leave_unsent(push.to, push.n)

    async def _write(self) -> None:
        try:
            while True:
                self._to_write = trio.Event()
                await send_all(self._socket, self._session.data_to_send())
                await self._to_write.wait()
        except OSError:
            self._patience.cancel()

    async def _read(self) -> None:
        session = self._session
        try:
            while data := await receive_some(self._socket):
                for fate in session.receive(data):
                    self._settle(*fate)
                if session.closed:
                    return
                self._to_write.set()
                self._room.set()
                if session.open_streams:
                    self._patience.deadline = trio.current_time() + ANSWER_S
                elif self._over:
                    return
                else:
                    self._patience.deadline = math.inf
        except (OSError, ProtocolError):
            pass

    def _settle(self, push: Planned, accepted: bool | None, reason: str) -> None:
        if accepted:
            self._audit.accept()
        elif accepted is None:
            self._audit.leave_unanswered(push.to, push.n)
        else:
            self._audit.refuse(push.to, push.n, reason)
