"""Keeping the garbage collector out of the way of a large, live population.

A parked device is about 20 objects that the collector would walk again and again for nothing:
a full collection with 870,000 objects takes 250-500 ms, after `gc.freeze` none. Neither trio nor
a device that comes leaves cyclic garbage, so a growing population is frozen without a look.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import trio

#: objects made before a collection of the youngest generation: as many as 10,000 devices
THRESHOLDS = (200_000, 20, 1_000)
#: devices that come before the population is frozen again
STEP = 1_000
#: seconds between two looks at a population that changes, and at one that does not
INTERVAL_S = 0.25
QUIET_S = 1.0


async def keep_frozen(population: Callable[[], int]) -> None:
    """Freeze now and whenever the population has grown. Sets the process's collector."""
    gc.set_threshold(*THRESHOLDS)
    gc.collect()
    gc.freeze()
    frozen = seen = population()
    while True:
        await trio.sleep(QUIET_S if population() == seen else INTERVAL_S)
        seen = population()
        if seen >= frozen + STEP:
            frozen = seen
            gc.freeze()
        elif seen < frozen // 2:
            # Half of them have gone: what they left is looked through once, then frozen anew.
            frozen = seen
            gc.unfreeze()
            gc.collect()
            gc.freeze()
