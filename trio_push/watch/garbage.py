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
#: seconds between two looks at a population that changes, and at one that does not
INTERVAL_S = 0.25
QUIET_S = 1.0
#: time that half of the population has to be gone before what it left is looked through. Of a
#: storm all are back by then, and a fifth of a second is what nobody has during one.
SETTLED_S = 1 * MINUTES


async def keep_frozen(population: Callable[[], int]) -> None:
    """Freeze now and whenever the population has grown. Sets the process's collector."""
    gc.set_threshold(*THRESHOLDS)
    # Not thawed before: what was frozen before a fork is shared by all who were forked.
    gc.collect()
    gc.freeze()
    while True:
        await _until_most_have_gone(population)
        # What they left is looked through once, then frozen anew.
        gc.unfreeze()
        gc.collect()
        gc.freeze()


async def _until_most_have_gone(population: Callable[[], int]) -> None:
    """Freeze what comes, until half of the population has been gone for a while."""
    least = most = seen = population()
    there_at = trio.current_time()
    while trio.current_time() < there_at + SETTLED_S:
        await trio.sleep(QUIET_S if population() == seen else INTERVAL_S)
        seen = population()
        least = min(least, seen)
        if seen >= least + STEP:
            least = seen
            gc.freeze()
        most = max(most, seen)
        if seen >= most // 2:
            there_at = trio.current_time()
