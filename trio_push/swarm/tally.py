"""What a process of a swarm has counted, as it travels. Pure.

Workers send what they have counted since they last said so, and the parent adds it up: its
counts are then those that one process would have come to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from trio_push.swarm.audit import Deliveries
from trio_push.swarm.connections import Connections
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.on_push import Calls


@dataclass(slots=True)
class Tally:
    """Counts of one process, or of several."""

    connections: Connections = field(default_factory=Connections)
    deliveries: Deliveries = field(default_factory=Deliveries)
    #: from the time a push was due to its arrival
    latency: Histogram = field(default_factory=Histogram)
    #: how late the loop was
    lag: Histogram = field(default_factory=Histogram)
    calls: Calls = field(default_factory=Calls)

    def since(self, before: Tally) -> Tally:
        """What was counted after `before`, which counts what this did then.

        Counts of what there is now may be negative.
        """
        result: Tally = _since(self, before)
        return result

    def add(self, part: Tally) -> None:
        """Count what `part` has counted.

        The peak of several processes is not the sum of theirs, which they may have had at
        different times: it is the most connections that there were after any addition.
        """
        peak = self.connections.peak
        _add(self, part)
        self.connections.peak = max(peak, self.connections.now)


# Any: a count is a number, a counter, a histogram, or a dataclass of such
def _since(now: Any, before: Any) -> Any:
    if isinstance(now, int):
        return now - before
    if isinstance(now, Counter):
        return Counter({why: n - before[why] for why, n in now.items() if n != before[why]})
    if isinstance(now, Histogram):
        return now.since(before)
    counts = (each.name for each in fields(now))
    return type(now)(**{name: _since(getattr(now, name), getattr(before, name)) for name in counts})


def _add(total: Any, part: Any) -> None:
    for each in fields(total):
        ours, theirs = getattr(total, each.name), getattr(part, each.name)
        if isinstance(ours, int):
            setattr(total, each.name, ours + theirs)
        elif isinstance(ours, Counter):
            ours.update(theirs)
        elif isinstance(ours, Histogram):
            ours.merge(theirs)
        else:
            _add(ours, theirs)
