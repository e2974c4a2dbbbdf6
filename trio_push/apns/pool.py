"""The connections of a client: opened, listed while they have room, and closed again.

Used by the client alone. How many there are the governor decides; when one may be opened, the
back-off.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from trio_push.apns.backoff import Backoff
from trio_push.apns.connection import Connection
from trio_push.apns.dial import Dial
from trio_push.apns.flight import Fate, Session
from trio_push.apns.governor import Governor, Load
from trio_push.apns.options import Options
from trio_push.errors import Unreachable

#: a connection that lived this long was a good one, even if nothing was asked of it
_GOOD_S: Final = 10.0
#: time that the host has, when all is done, to see its connections off
_CLOSE_S: Final = 2.0


class Pool:
    """`took` hears what became of pushes, `lost_patience` that the host is out of reach."""

    def __init__(
        self,
        url: str,
        dial: Dial,
        make_session: Callable[[bool], Session],
        options: Options,
        *,
        took: Callable[[Connection, list[Fate]], None],
        has_input: Callable[[], bool],
        output_waited: Callable[[], bool],
        lost_patience: Callable[[Unreachable], None],
    ) -> None:
        self._url = url
        self._dial = dial
        self._make_session = make_session
        self._options = options
        self._client_took = took
        self._has_input = has_input
        self._output_waited = output_waited
        self._lost_patience = lost_patience
        self._governor = Governor(options.scaling)
        self._backoff = Backoff(options.first_backoff_s, options.longest_backoff_s, options.jitter)
        self.connections: list[Connection] = []
        self.dialing = 0
        self.dialed = 0
        self.dial_failures = 0
        #: connections that had room when they were last looked at; the next push goes to the first
        self._listed: deque[Connection] = deque()
        self._room = trio.Event()
        self._changed = trio.Event()
        self._all_closed = trio.Event()
        self._over = False
        #: since when connections fail; None: the last one did not
        self._failing_since: float | None = None
        #: since when the dispatcher waits for room; None: it does not
        self._waits_since: float | None = None
        self._input_waited = False
        self._input_waited_s = 0.0

    @property
    def open(self) -> list[Connection]:
        """Those that take pushes."""
        return [connection for connection in self.connections if not connection.closing]

    async def run(self) -> None:
        """Keep as many connections as there should be. Ends only by being cancelled."""
        scaling = self._options.scaling
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                if not self._over:
                    self._adjust(nursery)
                with trio.move_on_after(scaling.poll_s):
                    await self._changed.wait()

    async def wait_room(self) -> Connection | None:
        """A connection with room; None: there was none for `poll_s`. A checkpoint if it waits."""
        if (connection := self._pick()) is not None:
            return connection
        self.flush()
        self._room = trio.Event()
        began = self._waits_since = trio.current_time()
        try:
            self._note_input()
            with trio.move_on_after(self._options.scaling.poll_s):
                await self._room.wait()
        finally:
            self._waits_since = None
            if self._has_input():
                self._input_waited = True
                self._input_waited_s += trio.current_time() - began
        return self._pick()

    def flush(self) -> None:
        """Let what was started be written, and the next connection have its turn."""
        if self._listed:
            self._listed[0].flush()
            self._listed.rotate(-1)

    def has_room(self, connection: Connection) -> None:
        """Look at it: there may be room again."""
        if connection.room > 0 and not connection.is_listed:
            connection.is_listed = True
            self._listed.append(connection)
        if self._listed:
            self._room.set()
        if connection.closing:
            self._judge(connection)
            self._changed.set()

    def cut(self, why: str) -> None:
        """End all connections at once, and open no more."""
        self._over = True
        for connection in self.connections:
            connection.cut(why)

    async def close(self) -> None:
        """Let all connections finish, and open no more."""
        self._over = True
        for connection in self.connections:
            connection.retire()
        with trio.move_on_after(_CLOSE_S):
            while self.connections:
                self._all_closed = trio.Event()
                await self._all_closed.wait()

    def input_waited_s(self) -> float:
        """For how long, in sum, requests have waited for room."""
        now = trio.current_time()
        is_waiting = self._waits_since is not None and self._has_input()
        return self._input_waited_s + (now - (self._waits_since or now) if is_waiting else 0.0)

    def _pick(self) -> Connection | None:
        while self._listed:
            connection = self._listed[0]
            if connection.room > 0:
                return connection
            connection.flush()
            connection.is_listed = False
            self._listed.popleft()
        return None

    def _note_input(self) -> None:
        if self._waits_since is not None and self._has_input():
            self._input_waited = True

    def _adjust(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        options = self._options
        for connection in self.connections:
            connection.sweep(now, options.answer_s, options.ping_s)
            self._judge(connection)
        if self._over:  # the host is given up, for what has just been seen
            return
        there = self.open
        self._note_input()
        load = Load(
            # one whose host has not said yet what it takes shows nothing either
            connections=sum(connection.capacity > 0 for connection in there),
            input_waited=self._input_waited,
            output_waited=self._output_waited(),
            in_flight=sum(connection.in_flight for connection in there),
            capacity=sum(connection.capacity for connection in there),
        )
        self._input_waited = False
        change = self._governor.look(load, now) - len(there) - self.dialing
        if now >= self._backoff.ready_at:
            for _ in range(change):
                self.dialing += 1
                nursery.start_soon(self._connect)
        for connection in sorted(there, key=lambda each: each.in_flight)[: max(0, -change)]:
            connection.retire()

    async def _connect(self) -> None:
        try:
            wire = await self._dial()
        except Unreachable as exc:
            self.dial_failures += 1
            self._failed(exc, trio.current_time())
            return
        finally:
            self.dialing -= 1
            self._changed.set()
        self.dialed += 1
        connection = Connection(
            wire.stream, self._make_session(wire.is_h2), took=self._took, has_room=self.has_room
        )
        self.connections.append(connection)
        try:
            if self._over:
                connection.retire()
            self.has_room(connection)
            await connection.run()
        finally:
            self.connections.remove(connection)
            self._changed.set()
            self._all_closed.set()

    def _took(self, connection: Connection, fates: list[Fate]) -> None:
        if not connection.has_answered and any(fate.status for fate in fates):
            connection.has_answered = True
            self._backoff.succeed()
            self._failing_since = None
        self._client_took(connection, fates)

    def _judge(self, connection: Connection) -> None:
        """Count it as failed if it broke without an answer, once.

        Before another is opened in its place: that has to wait for the back-off.
        """
        if not connection.why or connection.has_answered or connection.has_failed:
            return
        now = trio.current_time()
        if now - connection.opened_at < _GOOD_S or connection.fell_silent:
            connection.has_failed = True
            exc = Unreachable(f"{self._url} takes no pushes: {connection.why}")
            # who has not said a word was out of reach all the time
            self._failed(exc, now if connection.was_heard else connection.opened_at)

    def _failed(self, exc: Unreachable, since: float) -> None:
        now = trio.current_time()
        self._backoff.fail(now, random.random())
        if self._failing_since is None:
            self._failing_since = since
        patience_s = self._options.patience_s
        has_waited = now - self._failing_since >= patience_s or not self.dialed
        if has_waited and patience_s < math.inf and not self.open and not self._over:
            self._lost_patience(exc)
