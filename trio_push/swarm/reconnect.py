"""When a device whose stream ended connects again. Pure.

fleet  as Fleet's device client: the back-off doubles from 1 s to 30 s, and a random part of up to
       half of it is added
scale  as *WebSocket at scale* has it: 0, 1, 2, 5, 10 and from then on 30 s, and of that a random
       part ("full jitter"), which it leaves out: devices that fell together would come together

The back-off starts over only after a healthy stream. What the server asked for is the least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_S = 1.0
LONGEST_S = 30.0
#: a stream that lived this long was healthy even if no event came
HEALTHY_S = 30.0

_SCALE_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)

#: seconds to wait, from the number of unhealthy streams in a row and a number in [0, 1)
Schedule = Callable[[int, float], float]


def fleet_s(failures: int, jitter: float) -> float:
    backoff = min(LONGEST_S, FIRST_S * 2.0 ** min(failures, 16))
    return backoff + jitter * backoff / 2


def scale_s(failures: int, jitter: float) -> float:
    return jitter * _SCALE_S[min(failures, len(_SCALE_S) - 1)]


SCHEDULES: Final[dict[str, Schedule]] = {"fleet": fleet_s, "scale": scale_s}


def delay_s(
    failures: int, jitter: float, *, at_least_s: float = 0.0, schedule: Schedule = fleet_s
) -> float:
    """How long to wait after `failures` unhealthy streams in a row; `jitter` is in [0, 1)."""
    return max(at_least_s, schedule(failures, jitter))


def is_healthy(lived_s: float, events: int) -> bool:
    """Whether a stream that ended lets the back-off start over."""
    return events > 0 or lived_s >= HEALTHY_S
