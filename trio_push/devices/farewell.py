"""Saying good-bye to every device when the node stops.

Each is told to come back after a random time, so that they do not all return at once, and is
closed; in slices over the drain time, so that their reconnects are spread and the loop stays
responsive. A device for which something waits gets it first, if it takes it in time.
"""

from __future__ import annotations

import random

import trio

from trio_push.devices.connection import Connection
from trio_push.devices.delivery import Delivery
from trio_push.router.directory import Directory
from trio_push.wire.close_codes import GOING_AWAY, TOO_SLOW

#: milliseconds between which the time to come back is drawn
RETRY_MS = (1_000, 15_000)
#: share of the drain time in which all are told; the rest is for those with something waiting
SHARE = 0.7
#: devices closed before other tasks get a turn
SLICE = 100


async def farewell(directory: Directory, delivery: Delivery, drain_s: float) -> None:
    """Close every connection within `drain_s` seconds. Cancelled, the rest is closed at once."""
    start = trio.current_time()
    try:
        connections = directory.connections()
        for i, connection in enumerate(connections):
            if i % SLICE == 0:
                await trio.sleep_until(start + SHARE * drain_s * i / len(connections))
            _dismiss(connection, delivery)
        with trio.move_on_at(start + drain_s):
            while len(directory):
                await trio.sleep(0.05)
                for connection in directory.connections():
                    _dismiss(connection, delivery)
    finally:
        for connection in directory.connections():
            delivery.disconnect(connection, TOO_SLOW)


def _dismiss(connection: Connection, delivery: Delivery) -> None:
    """Tell the device when to come back, and close; unless something waits for it."""
    if connection.mailbox is None and not connection.closed:
        words = connection.transport.farewell(GOING_AWAY, random.randint(*RETRY_MS))
        delivery.whisper(connection, words)
    if connection.mailbox is None:
        delivery.disconnect(connection)
