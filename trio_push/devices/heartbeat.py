"""Keep-alives for all devices from one task: comments, or pings that want an answer.

A device that is gone without a word is noticed when a write to it fails, or when its answers
stay away; proxies close what is silent for long. A timer per device would cost as much memory
as the device.
"""

from __future__ import annotations

from collections import deque

import trio

from trio_push.devices.connection import Connection
from trio_push.devices.delivery import Delivery
from trio_push.wire.close_codes import SILENT

#: devices written to before other tasks get a turn
SLICE = 200
#: Seconds between two looks at who is due, at least, and looks in an interval, at most: who is due
#: a little earlier or later is written to in one go, for waking up is most of what a beat costs,
#: here and at the other end.
TICK_S = 0.25
LOOKS = 30
#: intervals without a sign of life: gone at the third beat in a row to which there was no answer;
#: the half is the time that an answer may take
DEAD_AFTER = 2.5
#: seconds that an answer may take at least, however short the interval
LEAST_SILENCE_S = 2.0


class Heartbeat:
    """Visits every connection once per interval, in the order in which they came."""

    def __init__(self, delivery: Delivery, interval_s: float) -> None:
        self._delivery = delivery
        self._interval_s = interval_s
        self._tick_s = max(TICK_S, interval_s / LOOKS)
        self._dead_after_s = max(DEAD_AFTER * interval_s, LEAST_SILENCE_S)
        #: (trio time of the next beat, connection); in order, as the interval is the same for all
        self._round: deque[tuple[float, Connection]] = deque()

    def add(self, connection: Connection) -> None:
        if self._interval_s > 0:
            self._round.append((trio.current_time() + self._interval_s, connection))

    async def run(self) -> None:
        if self._interval_s == 0:
            await trio.sleep_forever()
        while True:
            # Who comes meanwhile is due an interval from then: later than all who are here.
            in_s = self._round[0][0] - trio.current_time() if self._round else self._interval_s
            await trio.sleep(max(in_s, self._tick_s))
            await self._beat(trio.current_time())

    async def _beat(self, now: float) -> None:
        visited = 0
        while self._round and self._round[0][0] <= now:
            due, connection = self._round.popleft()
            if connection.closed:
                continue
            if connection.silent_s(now) > self._dead_after_s:
                self._delivery.disconnect(connection, SILENT)
                continue
            self._delivery.whisper(connection, connection.transport.keepalive)
            # From the due time and not from now: the round keeps the spread of the arrivals.
            self._round.append((due + self._interval_s, connection))
            visited += 1
            if visited % SLICE == 0:
                await trio.lowlevel.checkpoint()
