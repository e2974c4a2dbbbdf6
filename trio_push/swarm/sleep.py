"""Which devices of a swarm sleep, and when those that are awake again woke.

Part of the population: whoever disturbs the devices puts them to sleep and wakes them, and each of
them waits here for being woken.
"""

from __future__ import annotations

import math

import trio

from trio_push.swarm.connections import Connections


class Sleep:
    """The alarms of all sleepers. Only `wait` blocks."""

    __slots__ = ("_alarms", "_counts", "_woke_at")

    def __init__(self, counts: Connections) -> None:
        self._counts = counts
        #: device → set when it is to wake
        self._alarms: dict[int, trio.Event] = {}
        #: device → trio's time when it last woke
        self._woke_at: dict[int, float] = {}

    def __contains__(self, index: int) -> bool:
        return index in self._alarms

    def put(self, index: int) -> None:
        """Once its stream has ended, a device is not to connect before it is woken."""
        self._counts.sleeps += 1
        self._counts.asleep += 1
        self._alarms[index] = trio.Event()

    def wake(self, index: int) -> None:
        self._alarms.pop(index).set()
        self._counts.asleep -= 1
        self._woke_at[index] = trio.current_time()

    def wake_all(self) -> None:
        for index in list(self._alarms):
            self.wake(index)

    def woke_at(self, index: int) -> float:
        """Trio's time when a device last woke; of one that never slept, long ago."""
        return self._woke_at.get(index, -math.inf)

    async def wait(self, index: int) -> bool:
        """Wait for the alarm of a device; False, at once, if it was not put to sleep."""
        alarm = self._alarms.get(index)
        if alarm is None:
            return False
        await alarm.wait()
        return True
