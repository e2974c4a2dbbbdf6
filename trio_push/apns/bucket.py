"""A token bucket: a true limit on a rate, whoever wants more. Pure; `now` is in seconds.

Used by the client for pushes and for bytes. In any time t no more than rate × t + burst passes,
but for the last thing taken: what it costs may be known only when it is sent, so a bucket may go
into debt by one, and is left alone until that is paid.
"""

from __future__ import annotations

from typing import Final

#: what may be caught up after the sender's own lateness: a timer is late by a millisecond, a
#: busy loop by a few dozen
_BURST_S: Final = 0.05


class Bucket:
    """So many units in a second. At rest it is full: `burst` units may pass at once."""

    __slots__ = ("_as_of", "_room", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = max(1.0, rate_per_s * _BURST_S)
        self._room = self.burst
        self._as_of = float("-inf")

    def wait_s(self, now: float) -> float:
        """How long until something may pass; 0: now."""
        self._fill(now)
        # a rounding error short of a unit is a unit
        short = min(1.0, self.burst) - self._room
        return short / self.rate_per_s if short > 1e-9 else 0.0

    def take(self, units: float, now: float) -> None:
        """Something passes that costs so much."""
        self._fill(now)
        self._room -= units

    def _fill(self, now: float) -> None:
        if now > self._as_of:
            self._room = min(self.burst, self._room + (now - self._as_of) * self.rate_per_s)
            self._as_of = now
