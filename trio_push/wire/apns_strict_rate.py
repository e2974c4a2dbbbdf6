"""How often one device token may be pushed to: a token bucket each. Pure; `now` is an argument.

Asked by the strict profile once per push. Of a device that is left alone nothing is kept.
"""

from __future__ import annotations

from typing import Final

#: seconds' worth of pushes that may come at once
BURST_S: Final = 10.0


class DeviceRate:
    """So many pushes a second for each device token; 0: as many as one likes."""

    __slots__ = ("_interval_s", "_old", "_turned_at", "_young")

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s if per_s else 0.0
        # Token → when its bucket is full again. No such time is further off than BURST_S, so what
        # was not touched for that long need not be kept: to forget it is one assignment.
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}
        self._turned_at = 0.0

    def is_too_many(self, token: str, now: float) -> bool:
        """Count a push, in seconds of any clock; whether it is one too many (not counted then)."""
        if not self._interval_s:
            return False
        if not 0 <= now - self._turned_at < BURST_S:
            self._old, self._young, self._turned_at = self._young, {}, now
        full_at = self._young.get(token) or self._old.get(token, 0.0)
        full_at = max(now, full_at) + self._interval_s
        # A bucket holds one push at least, and rounding must not cost the last one.
        if full_at - now > max(BURST_S, self._interval_s) + self._interval_s / 2:
            return True
        self._young[token] = full_at
        return False
