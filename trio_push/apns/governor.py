"""Decides how many connections there should be. Pure: values in, a number out; takes `now`.

Asked by the client every `poll_s`. The input waits when a request is there and no connection has
room for it; the output waits when results are there and nobody takes them. More connections help
with the first, and not with the second: then, or when this process has no CPU left to hand
results over with, they would only be more to wait for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_push.apns.scaling import Scaling

#: connections are closed only if what is in flight would fill this much of the rest
_FULL: Final = 0.7


class Load(NamedTuple):
    """What the client saw since it was last asked."""

    #: connections that take pushes
    connections: int
    #: at some time a request waited for room
    input_waited: bool
    #: at no time had all results been taken
    output_waited: bool
    #: the most pushes that were in flight at once, and how many there may be
    in_flight: int
    capacity: int


class Governor:
    """Holds how many connections are `wanted`, and since when what has been going on.

    One that is lost is wanted back: the number changes by these rules alone.
    """

    __slots__ = (
        "_input_since",
        "_output_free_since",
        "_quiet_until",
        "_roomy_since",
        "_scaling",
        "wanted",
    )

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self.wanted = scaling.least
        #: the input has waited in every interval since; None: not in the last one
        self._input_since: float | None = None
        #: the output has not waited since
        self._output_free_since: float | None = None
        #: fewer connections would have done since
        self._roomy_since: float | None = None
        self._quiet_until = float("-inf")

    def look(self, load: Load, now: float) -> int:
        """Take in what was seen; how many connections are wanted."""
        scaling = self._scaling
        self._note(load, now)
        # what is being opened, or was opened just now, has not shown yet what it is good for
        if load.connections < self.wanted or now < self._quiet_until:
            return self.wanted
        if self._should_grow(now):
            self._change(min(scaling.law.up(self.wanted), scaling.most), now)
        elif self._roomy_since is not None and now - self._roomy_since >= scaling.idle_s:
            self._change(max(scaling.law.down(self.wanted), scaling.least), now)
        return self.wanted

    def _note(self, load: Load, now: float) -> None:
        """Keep since when each of the three has been so without a break."""
        self._input_since = _since(self._input_since, load.input_waited, now)
        self._output_free_since = _since(self._output_free_since, not load.output_waited, now)
        self._roomy_since = _since(self._roomy_since, self._would_fewer_do(load), now)

    def _should_grow(self, now: float) -> bool:
        sustained = now - self._scaling.sustain_s
        return (
            self._input_since is not None
            and self._output_free_since is not None
            and max(self._input_since, self._output_free_since) <= sustained
        )

    def _would_fewer_do(self, load: Load) -> bool:
        fewer = max(self._scaling.law.down(self.wanted), self._scaling.least)
        if load.input_waited or fewer >= load.connections:
            return False
        return load.in_flight <= _FULL * load.capacity * fewer / load.connections

    def _change(self, wanted: int, now: float) -> None:
        if wanted != self.wanted:
            self.wanted = wanted
            self._quiet_until = now + self._scaling.settle_s
            self._roomy_since = self._input_since = None


def _since(since: float | None, is_so: bool, now: float) -> float | None:
    """The first of the looks at which it has been so ever since."""
    if not is_so:
        return None
    return now if since is None else since
