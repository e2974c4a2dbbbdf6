"""The one place that knows both clocks: trio's for waiting, the wall's for expiry."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


class Clock:
    """Wall time, and how long to wait for it.

    `wall()` returns epoch seconds. Tests pass a wall that follows trio's mock clock.
    """

    __slots__ = ("wall",)

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall

    def deadline(self, at_epoch_s: float) -> float:
        """The trio time at which the wall shows `at_epoch_s`, as far as is known now.

        The wall may be set meanwhile: who sleeps until it looks at `wall()` again on waking.
        """
        return trio.current_time() + at_epoch_s - self.wall()
