"""How late the swarm's own loop is: what it adds to every latency that it measures."""

from __future__ import annotations

from typing import NoReturn

import trio

from trio_push.swarm.histogram import Histogram

INTERVAL_S = 0.1


async def watch_lag(lag: Histogram) -> NoReturn:
    """Record how much later than asked for this task wakes up, again and again."""
    while True:
        due = trio.current_time() + INTERVAL_S
        await trio.sleep_until(due)
        lag.record(trio.current_time() - due)
