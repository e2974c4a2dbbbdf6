"""The ramp: devices start at a rate, jittered, and not all at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import trio

#: devices that are started before other tasks get a turn, when the ramp is behind
_TURN = 50


def planned_times_s(count: int, rate: float, rng: random.Random) -> Iterator[float]:
    """When each device starts: at a random moment of its own 1/rate of the time."""
    return ((i + rng.random()) / rate for i in range(count))


async def ramp(start: Callable[[int], None], count: int, rate: float, rng: random.Random) -> None:
    """Call `start` with 0 … count - 1, each at its time; returns when all have been called."""
    began = trio.current_time()
    for i, at_s in enumerate(planned_times_s(count, rate, rng)):
        if began + at_s > trio.current_time():
            await trio.sleep_until(began + at_s)
        elif i % _TURN == 0:
            await trio.lowlevel.checkpoint()
        start(i)
