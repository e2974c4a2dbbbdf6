"""The one place that knows both clocks: trio's for waiting, the wall's for expiry."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import trio

#: seconds; the shortest sleep. Epoch seconds as a float are exact to 0.2 µs only: without it a
#: sleep that ends a rounding error too early would be repeated without ever waiting.
_LEAST_SLEEP_S: Final = 0.001


class Clock:
    """Wall time, and waiting for it.

    `wall()` returns epoch seconds. Tests pass a wall that follows trio's mock clock.
    """

    __slots__ = ("wall",)

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall

    async def sleep_until(self, at_epoch_s: float) -> None:
        """Sleep until the wall shows `at_epoch_s`, never less, even if it is set meanwhile.

        A wall that is set forward ends the sleep late, by as much as was left. A checkpoint,
        except when the time has passed already.
        """
        while (left_s := at_epoch_s - self.wall()) > 0:
            await trio.sleep(max(left_s, _LEAST_SLEEP_S))
