"""When to open a connection again after one failed: doubling, with jitter. Pure.

Used by the client for all its connections together: they go to the same host, and what ails one
ails all. Failed is also a connection that was opened and closed without one answer; a host that
says GOAWAY to everybody is not to be asked two hundred times in a second.
"""

from __future__ import annotations

import math


class Backoff:
    """From `first_s` doubling to `longest_s`; up to `jitter` of it is added at random."""

    __slots__ = ("failures", "first_s", "jitter", "longest_s", "ready_at")

    def __init__(self, first_s: float, longest_s: float, jitter: float) -> None:
        self.first_s = first_s
        self.longest_s = longest_s
        self.jitter = jitter
        #: in a row
        self.failures = 0
        #: the time before which no connection is opened
        self.ready_at = -math.inf

    def fail(self, now: float, chance: float) -> None:
        """Count a failure; `chance` is in [0, 1).

        Of several that were begun together, all but one fail while waiting was decided already.
        """
        if now < self.ready_at:
            return
        pause_s = min(self.longest_s, self.first_s * 2.0 ** min(self.failures, 64))
        self.failures += 1
        self.ready_at = now + pause_s * (1 + self.jitter * chance)

    def succeed(self) -> None:
        """A connection has brought an answer: start over."""
        self.failures = 0
        self.ready_at = -math.inf
