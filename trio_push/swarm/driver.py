"""The driver: sends the swarm's own pushes at their planned times, whatever the server does.

An open loop: the plan does not wait for answers, and latency counts from the planned time, so
that a server that stalls cannot hide it (coordinated omission). What a lane cannot take is
not sent, and counted as that.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from itertools import count

import trio

from trio_push.swarm.histogram import Histogram
from trio_push.swarm.lane import Lane, Plan, Planned
from trio_push.swarm.stamp import Stamp, Stamper

#: planned pushes that may wait for a lane whose server is slow: a minute's worth for a lane of
#: the fastest plans, and no more than 10 MB
LANE_CAPACITY = 10_000
#: time that the lanes have, after the plan has ended, to get their last answers
ANSWERS_S = 10.0
#: pushes that are planned before other tasks get a turn, when the plan is behind
_TURN = 100


class Driver:
    """Spreads pushes over all devices in a shuffled order, `rate` in a second."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        tokens: Sequence[str],
        audit: Plan,
        stamper: Stamper,
        *,
        rate: float,
        seed: int,
        wall_offset_s: float,
    ) -> None:
        """`wall_offset_s` + trio's time = epoch time, as it is stamped on the pushes."""
        self._lanes = lanes
        self._tokens = tokens
        self._audit = audit
        self._stamper = stamper
        self._rate = rate
        self._wall_offset_s = wall_offset_s
        self._order = array("I", range(len(tokens)))
        random.Random(seed).shuffle(self._order)
        #: how long after its time each push was handed to its lane: the driver's own lateness
        self.behind = Histogram()
        self._planning = trio.CancelScope()

    def stop(self) -> None:
        """End the plan now; `run` then waits for the last answers."""
        self._planning.cancel()

    async def run(self, duration_s: float) -> None:
        """Send all of the plan for so long, then wait a while for the last answers.

        Cancelled or not, every planned push has a fate afterwards.
        """
        ends = [trio.open_memory_channel[Planned](LANE_CAPACITY) for _ in self._lanes]
        try:
            async with trio.open_nursery() as nursery:
                for lane, (_, pushes) in zip(self._lanes, ends, strict=True):
                    nursery.start_soon(lane.run, pushes)
                with self._planning:
                    await self._plan([plan for plan, _ in ends], duration_s)
                for plan, _ in ends:
                    plan.close()
                nursery.cancel_scope.deadline = trio.current_time() + ANSWERS_S
        finally:
            for _, pushes in ends:
                self._give_up(pushes)

    async def _plan(self, lanes: list[trio.MemorySendChannel[Planned]], duration_s: float) -> None:
        start = now = trio.current_time()
        for i in count():
            if i / self._rate >= duration_s:
                return
            at = start + i / self._rate
            if at > now:
                await trio.sleep_until(at)
                now = trio.current_time()
            elif i % _TURN == 0:
                await trio.lowlevel.checkpoint()
                now = trio.current_time()
            self.behind.record(now - at)
            self._put(lanes, self._order[i % len(self._order)], at)

    def _put(self, lanes: list[trio.MemorySendChannel[Planned]], to: int, at: float) -> None:
        lane = to % len(lanes)
        n = self._audit.plan(to)
        due = at + self._wall_offset_s + self._lanes[lane].delay_s
        payload = self._stamper.payload(Stamp(to, n, due))
        try:
            lanes[lane].send_nowait(Planned(to, n, self._tokens[to], payload))
        except (trio.WouldBlock, trio.BrokenResourceError):
            self._audit.leave_unsent(to, n)

    def _give_up(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        with pushes:
            try:
                while True:
                    push = pushes.receive_nowait()
                    self._audit.leave_unsent(push.to, push.n)
            except (trio.WouldBlock, trio.EndOfChannel):
                pass
