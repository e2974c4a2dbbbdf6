"""Keeping the garbage collector out of the way of a large, live population.

A parked device is about 20 objects that the collector would walk again and again for nothing:
a full collection with 870,000 objects takes 250-500 ms, after `gc.freeze` none. Neither trio nor
a device that comes leaves cyclic garbage, so a growing population is frozen without a look.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

from trio_push.config import MINUTES

#: objects made before a collection of the youngest generation: as many as 10,000 devices
THRESHOLDS = (200_000, 20, 1_000)
#: devices that come before the population is frozen again
STEP = 1_000
INTERVAL_S = 0.25
#: time that half of the population has to be gone before what it left is looked through. Of a
#: storm all are back by then, and a fifth of a second is what nobody has during one.
SETTLED_S = 1 * MINUTES


async def keep_frozen(population: Callable[[], int]) -> None:
    """Freeze now and whenever the population has grown. Sets the process's collector."""
    gc.set_threshold(*THRESHOLDS)
    while True:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        await _until_most_have_gone(population)


async def _until_most_have_gone(population: Callable[[], int]) -> None:
    """Freeze what comes, until half of the population has been gone for a while."""
    least = most = population()
    there_at = trio.current_time()
    while trio.current_time() < there_at + SETTLED_S:
        await trio.sleep(INTERVAL_S)
        now_there = population()
        least = min(least, now_there)
        if now_there >= least + STEP:
            least = now_there
            gc.freeze()
        most = max(most, now_there)
        if now_there >= most // 2:
            there_at = trio.current_time()
