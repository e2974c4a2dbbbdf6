"""How much a peer may do that costs it nothing and helps nobody: resets, pings, settings.

Used by the HTTP/2 session. Each such frame makes the server work or answer, so floods of them
are attacks (CVE-2023-44487 "rapid reset", CVE-2019-9512, -9515, -9518). WINDOW_UPDATE and
PRIORITY are not counted: they cost less than a request of the same size and leave nothing.
"""

from __future__ import annotations

from typing import Final

#: as nghttp2 has it for resets (1000, 33/s): room for a client that gives up 1000 streams at once
BURST: Final = 1000
RATE_PER_S: Final = 33.0


class Calm:
    """A token bucket that is looked at once per read, not once per frame."""

    __slots__ = ("_as_of", "_disturbances", "_room")

    def __init__(self) -> None:
        self._room = float(BURST)
        self._as_of: float | None = None
        self._disturbances = 0

    def disturb(self) -> None:
        """Count one such frame."""
        self._disturbances += 1

    def allows(self, now: float) -> bool:
        """Whether what was counted since the last call was within bounds; `now` in seconds."""
        if not self._disturbances:
            return True
        if self._as_of is not None:
            self._room = min(BURST, self._room + (now - self._as_of) * RATE_PER_S)
        self._as_of = now
        self._room -= self._disturbances
        self._disturbances = 0
        return self._room >= 0
