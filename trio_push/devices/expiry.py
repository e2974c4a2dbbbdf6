"""Ends the connections of devices whose leave has run out, all of them from one task.

Only devices that may stay until some time are in here: the others cost nothing.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from trio_push.clock import Clock
from trio_push.devices.connection import Connection
from trio_push.devices.delivery import Delivery
from trio_push.mailbox.time_index import TimeIndex
from trio_push.wire.close_codes import AUTH_EXPIRED

#: seconds between two looks at whose time has come
TICK_S: Final = 1.0
#: Seconds after which each connection is looked at, and forgotten if it has gone meanwhile: a
#: device that comes and goes, with a day to stay each time, must not be kept a day each time.
LOOK_S: Final = 300.0
#: devices visited before other tasks get a turn
SLICE: Final = 200


class Expiry:
    """Connections by the time until which they may last."""

    def __init__(self, delivery: Delivery, clock: Clock) -> None:
        self._delivery = delivery
        self._clock = clock
        #: (epoch seconds of its end, connection), by the time of the next look at it
        self._looks: TimeIndex[tuple[float, Connection]] = TimeIndex()

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, connection: Connection, expires_at: float) -> None:
        """End the connection at `expires_at` (epoch seconds), or up to two seconds later."""
        look_at = min(expires_at, self._clock.wall() + LOOK_S)
        # rounded up: the index gives out a whole second at its beginning
        self._looks.add(math.ceil(look_at), (expires_at, connection))

    async def run(self) -> None:
        while True:
            await trio.sleep(TICK_S)
            while due := self._looks.pop_second(self._clock.wall(), SLICE):
                self._look(due)
                await trio.lowlevel.checkpoint()

    def _look(self, due: list[tuple[float, Connection]]) -> None:
        now = self._clock.wall()
        for expires_at, connection in due:
            if connection.closed:
                continue
            if expires_at > now:
                self.add(connection, expires_at)
            else:
                self._delivery.disconnect(connection, AUTH_EXPIRED)
