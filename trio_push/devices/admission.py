"""Who may come in as a device: limits on how many and how fast, and the state of the node."""

from __future__ import annotations

from trio_push.errors import Refusal
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, SHUTDOWN

#: seconds after which a device that found no place may try again
RETRY_AFTER_S = 10


class Admission:
    """Decides on each device that comes. Pure: `now` is an argument, in trio's seconds."""

    def __init__(self, *, max_connections: int, connect_rate: float) -> None:
        self._max_connections = max_connections
        self._rate = connect_rate
        #: a token bucket that holds one second's worth
        self._tokens = max(1.0, connect_rate)
        self._filled_at = 0.0
        self.closed = False
        #: devices turned away for want of room or for coming too fast
        self.refused = 0

    def check(self, connected: int, now: float) -> None:
        """Raise Refusal when no further device may come in now."""
        if self.closed:
            raise Refusal(SHUTDOWN, retry_after_s=RETRY_AFTER_S)
        if connected >= self._max_connections:
            self.refused += 1
            detail = f"{connected} devices are connected, the most this node takes"
            raise Refusal(SERVICE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)
        if self._rate > 0 and not self._take(now):
            self.refused += 1
            detail = f"more than {self._rate:g} devices a second are coming"
            raise Refusal(SERVICE_UNAVAILABLE, detail, retry_after_s=1)

    def _take(self, now: float) -> bool:
        refill = (now - self._filled_at) * self._rate
        self._tokens = min(max(1.0, self._rate), self._tokens + refill)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
