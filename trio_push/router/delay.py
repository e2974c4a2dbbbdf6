"""What time does to held pushes: they are released when due, expire, or are sent again.

A push that is due soon is one task with one cancel scope, so that recalling or replacing it
is cancelling its scope. A task costs 3 KB, so those due later wait in the store's due index
and get theirs when their minute comes; when more than `MAX_TIMERS` are due in one minute, the
rest is released by the feeding task, second by second.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from operator import attrgetter

import trio

from trio_push.clock import Clock
from trio_push.mailbox.offline import Offline
from trio_push.mailbox.store import Held
from trio_push.push import State

#: seconds ahead for which held pushes get a timer
HORIZON_S = 60.0
#: timers at a time. When all of them fire at once that is a pass of the loop of 0.2 s
MAX_TIMERS = 5_000
#: seconds between two looks at the index
TICK_S = 1.0
#: held pushes handled before other tasks get a turn
SLICE = 200


class Delay:
    """Holds pushes until they are due. `run` owns the timers."""

    def __init__(
        self,
        clock: Clock,
        offline: Offline,
        release: Callable[[Held], None],
        resend: Callable[[Held], None],
    ) -> None:
        self._clock = clock
        self._offline = offline
        self._store = offline.store
        self._release = release
        self._resend = resend
        self._nursery: trio.Nursery | None = None
        self.timers = 0
        #: heap of what is due soon (when, number); a recalled one stays until its time
        self._line: list[tuple[float, int, Held]] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Release and expire; ends only by being cancelled, which leaves what is held held."""
        async with trio.open_nursery() as self._nursery:
            try:
                self._nursery.start_soon(self._each_second)
                task_status.started()
                await self._feed()
            finally:
                self._nursery = None

    def hold(self, held: Held) -> None:
        """Take a push into the store until its `not_before`."""
        self._offline.hold(held)
        imminent = held.push.not_before - self._clock.wall() <= 2 * TICK_S
        if imminent and self.timers < MAX_TIMERS:
            self._start_timer(held)

    # -- due

    async def _feed(self) -> None:
        """Give timers to the pushes whose minute has come, as long as there are some to give."""
        while True:
            now = self._clock.wall()
            room = MAX_TIMERS - self.timers
            if batch := self._store.pop_due(now):
                await self._release_in_order(batch)
            elif room > 0 and (batch := self._store.pop_due(now + HORIZON_S, limit=room)):
                for held in batch:
                    if self._waits(held):
                        self._start_timer(held)
                await trio.lowlevel.checkpoint()
            else:
                # To the beginning of the next second: what has no timer then is just in time.
                await self._clock.sleep_until(int(now) + TICK_S)

    async def _release_in_order(self, batch: list[Held]) -> None:
        """Their second has come and there was no timer for them: this task waits for each."""
        batch = [held for held in batch if self._waits(held)]
        batch.sort(key=attrgetter("push.not_before"))
        for held in batch:
            self._line_up(held)
        for i, held in enumerate(batch):
            if i % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
            await self._clock.sleep_until(held.push.not_before)
            self._release_next()

    def _waits(self, held: Held) -> bool:
        return held.timer is None and self._store.holds(held)

    def _start_timer(self, held: Held) -> None:
        if self._nursery is None:
            return  # a last push, routed while all of this is being cancelled: it stays held
        self._line_up(held)
        scope = held.timer = trio.CancelScope()
        self.timers += 1
        self._nursery.start_soon(self._wait, held, scope, name="held push")

    async def _wait(self, held: Held, scope: trio.CancelScope) -> None:
        """The timer: cancelling its scope recalls the push."""
        try:
            with scope:
                await self._clock.sleep_until(held.push.not_before)
        finally:
            self.timers -= 1
        self._release_next()

    def _line_up(self, held: Held) -> None:
        heapq.heappush(self._line, (held.push.not_before, held.seq, held))

    def _release_next(self) -> None:
        """Release the first in line that is due: one for each timer that ends, however it ends.

        Not the timer's own push, because timers that fire together run in any order, and the
        pushes of a token must not.
        """
        while self._line and self._line[0][0] <= self._clock.wall():
            held = heapq.heappop(self._line)[2]
            if self._store.holds(held):
                self._release(held)
                return

    # -- too late, or not acknowledged in time

    async def _each_second(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            while batch := self._store.pop_expired(self._clock.wall()):
                await self._visit(batch, self._expire)
            while batch := self._store.pop_unacknowledged(self._clock.wall()):
                await self._visit(batch, self._resend)

    async def _visit(self, batch: list[Held], do: Callable[[Held], None]) -> None:
        for i, held in enumerate(batch):
            if i % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
            if self._store.holds(held):
                do(held)

    def _expire(self, held: Held) -> None:
        self._offline.take(held, State.EXPIRED)
