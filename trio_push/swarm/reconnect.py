"""When a device whose stream ended connects again: as Fleet's device client does. Pure.

The back-off doubles from 1 s to 30 s, a random part of up to half of it is added so that devices
which fell together do not come back together, and it starts over only after a healthy stream.
What the server asked for with ``retry:`` is the least.
"""

from __future__ import annotations

FIRST_S = 1.0
LONGEST_S = 30.0
#: a stream that lived this long was healthy even if no event came
HEALTHY_S = 30.0


def delay_s(failures: int, jitter: float, *, at_least_s: float = 0.0) -> float:
    """How long to wait after `failures` unhealthy streams in a row; `jitter` is in [0, 1)."""
    backoff = min(LONGEST_S, FIRST_S * 2.0 ** min(failures, 16))
    return max(at_least_s, backoff + jitter * backoff / 2)


def is_healthy(lived_s: float, events: int) -> bool:
    """Whether a stream that ended lets the back-off start over."""
    return events > 0 or lived_s >= HEALTHY_S
