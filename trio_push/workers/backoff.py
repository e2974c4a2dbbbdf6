"""How long to wait before what has ended is started again. Pure; the crew asks it."""

from __future__ import annotations

from collections.abc import Callable

#: seconds before the first restart; doubles from there
FIRST_S = 0.5
LONGEST_S = 30.0
#: who has lived so long is well: its end is the first of its kind
HEALTHY_S = 60.0
#: share of a delay that is left to chance, so that those that ended together do not return so
JITTER = 0.5


class Backoff:
    """The delays of one worker; `chance` gives numbers from 0 to 1."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._next_s = FIRST_S

    def delay_s(self, lived_s: float) -> float:
        """The delay after an end that came after `lived_s` seconds."""
        if lived_s >= HEALTHY_S:
            self._next_s = FIRST_S
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, LONGEST_S)
        return delay_s * (1 - JITTER * self._chance())
