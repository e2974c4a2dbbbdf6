"""Keeping the garbage collector out of the way of a large, live population.

A parked device is about 20 objects that the collector would walk again and again for nothing:
a full collection with 870,000 objects takes 250-500 ms, after `gc.freeze` none. trio avoids
cyclic garbage, so there is little to find.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

#: objects made before a collection of the youngest generation
THRESHOLDS = (50_000, 20, 1_000)
#: devices that come before the population is frozen again
STEP = 2_000
INTERVAL_S = 1.0


async def keep_frozen(population: Callable[[], int]) -> None:
    """Freeze now and whenever the population has grown. Sets the process's collector."""
    gc.set_threshold(*THRESHOLDS)
    frozen = -STEP
    while True:
        if population() >= frozen + STEP:
            frozen = population()
            gc.collect()
            gc.freeze()
        elif population() < frozen // 2:
            # Half of them have gone: what they left is looked through once, then frozen anew.
            gc.unfreeze()
            frozen = -STEP
        await trio.sleep(INTERVAL_S)
