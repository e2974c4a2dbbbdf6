"""What the swarm sent against what its devices saw, push by push. Pure counting, no I/O.

The driver reports each push that it plans and its fate; the devices report what they receive.
Per device there are two integers: the count of pushes planned for it and the highest seen.
Only pushes that something happened to take more: a gap, a refusal, an answer that never came.

Where devices live in other processes than the driver, each process audits its own, and the plan
comes after them: how many pushes each device was to get, and which of them need not have come. Then
the sums of their counts are what one audit would have come to.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from trio_push.swarm.histogram import Histogram
from trio_push.swarm.stamp import Stamp

#: a push that comes later than this after it was due is late: what a person takes for at once
LATE_S = 1.0


@dataclass(slots=True)
class Pushes:
    """Counts of the swarm's own pushes. `planned` = all the others together + those on the way."""

    planned: int = 0
    accepted: int = 0
    refused: int = 0
    #: sent, but the connection ended or the time was up before the answer: fate unknown
    unanswered: int = 0
    #: never sent: no connection, or the server was too slow to keep up with the plan
    unsent: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return self.planned - self.unsent

    @property
    def on_the_way(self) -> int:
        return self.planned - self.accepted - self.refused - self.unanswered - self.unsent


@dataclass(slots=True)
class Deliveries:
    """Counts of what the devices received."""

    #: pushes of this run, each counted once
    distinct: int = 0
    #: pushes of others
    foreign: int = 0
    duplicate: int = 0
    late: int = 0
    out_of_order: int = 0
    #: pushes of this run that reached another device than theirs; in none of the other counts
    misdelivered: int = 0
    #: news of what the user has read on another device
    read_marks: int = 0
    #: notifications that devices have marked as read; the news that others were to get of them,
    #: what they got of that, and what of the rest the server may never have been told
    marked: int = 0
    read_marks_due: int = 0
    read_marks_seen: int = 0
    read_marks_in_doubt: int = 0
    #: pushes that were due while their device slept
    slept_through: int = 0
    #: notifications that their devices have acknowledged
    acknowledged: int = 0
    #: of those, what was said on connections that have ended: it may not have arrived
    acks_in_doubt: int = 0
    #: of the distinct, those that need not have come; counted where the plan is another's
    exempt: int = 0

    @property
    def received(self) -> int:
        """What the server counts as delivered."""
        return self.distinct + self.foreign + self.read_marks


class Audit:
    """The books of the swarm's own side."""

    __slots__ = (
        "_exempt",
        "_highest",
        "_missing",
        "_planned",
        "deliveries",
        "duplicates",
        "latency",
        "out_of_order",
        "pushes",
    )

    def __init__(self, devices: int, *, planned_elsewhere: bool = False) -> None:
        """`planned_elsewhere`: any number may come, until `learn` tells what was planned."""
        self.pushes = Pushes()
        self.deliveries = Deliveries()
        #: from the time a push was due to its arrival
        self.latency = Histogram()
        #: device → how many came to it twice, and behind one that was sent later
        self.duplicates: Counter[int] = Counter()
        self.out_of_order: Counter[int] = Counter()
        self._planned = array("I", (b"\xff" if planned_elsewhere else b"\0") * 4 * devices)
        self._highest = array("I", bytes(4 * devices))
        #: device → pushes below its highest that it has not seen
        self._missing: dict[int, set[int]] = {}
        #: pushes that need not arrive because they were not accepted, as far as is known
        self._exempt = array("Q")

    def plan(self, to: int) -> int:
        """Plan one more push for a device and return its number."""
        self.pushes.planned += 1
        self._planned[to] += 1
        return self._planned[to]

    def accept(self) -> None:
        self.pushes.accepted += 1

    def refuse(self, to: int, n: int, reason: str) -> None:
        self.pushes.refused += 1
        self.pushes.reasons[reason] += 1
        self._exempt.append(to << 32 | n)

    def leave_unanswered(self, to: int, n: int) -> None:
        self.pushes.unanswered += 1
        self._exempt.append(to << 32 | n)

    def leave_unsent(self, to: int, n: int) -> None:
        self.pushes.unsent += 1
        self._exempt.append(to << 32 | n)

    def plans_of(self, shares: Iterable[range]) -> Iterator[tuple[bytes, bytes]]:
        """For `learn` of the audits that shares of the devices report to, each from 0 on."""
        exempt = sorted(self._exempt)
        for share in shares:
            low, high = (bisect_left(exempt, device << 32) for device in (share.start, share.stop))
            theirs = array("Q", (key - (share.start << 32) for key in exempt[low:high]))
            yield self._planned[share.start : share.stop].tobytes(), theirs.tobytes()

    def learn(self, planned: bytes, exempt: bytes) -> None:
        """The plan was made elsewhere and has ended: numbers beyond it were made up."""
        self._planned = array("I", planned)
        self._exempt = array("Q", exempt)
        for to, (highest, last) in enumerate(zip(self._highest, self._planned, strict=True)):
            if highest > last:
                made_up = sum(self._seen(to, n) for n in range(last + 1, highest + 1))
                self.deliveries.misdelivered += made_up
                self.deliveries.distinct -= made_up

    def count_exempt(self) -> None:
        """Bring `deliveries.exempt` up to date, for the audit that made the plan."""
        self.deliveries.exempt = self._exempt_seen()

    def receive(self, device: int, stamp: Stamp | None, now_epoch_s: float) -> None:
        """Count an event that a device received; `stamp` is None for pushes of others."""
        deliveries = self.deliveries
        if stamp is None:
            deliveries.foreign += 1
            return
        to, n, at_epoch_s = stamp
        if to != device or n > self._planned[to]:
            deliveries.misdelivered += 1
            return
        highest = self._highest[to]
        if n > highest:
            self._highest[to] = n
            if n > highest + 1:
                self._missing.setdefault(to, set()).update(range(highest + 1, n))
        elif n in self._missing.get(to, ()):
            self._missing[to].remove(n)
            deliveries.out_of_order += 1
            self.out_of_order[to] += 1
        else:
            self.repeat(to)
            return
        deliveries.distinct += 1
        latency_s = now_epoch_s - at_epoch_s
        self.latency.record(latency_s)
        if latency_s > LATE_S:
            deliveries.late += 1

    def repeat(self, device: int) -> None:
        """A device got what it had already."""
        self.deliveries.duplicate += 1
        self.duplicates[device] += 1

    def unseen(self) -> int:
        """Accepted pushes that no device has seen (yet)."""
        return self.pushes.accepted - self.deliveries.distinct + self.unpromised_seen()

    def unpromised_seen(self) -> int:
        """Pushes that devices have seen although, for all we know, they were not accepted."""
        return self.deliveries.exempt + self._exempt_seen()

    def unseen_pushes(self) -> Iterator[tuple[int, int]]:
        """Device and number of each accepted push that was not seen. Walks all devices."""
        exempt = set(self._exempt)
        for to, (planned, highest) in enumerate(zip(self._planned, self._highest, strict=True)):
            for n in (*sorted(self._missing.get(to, ())), *range(highest + 1, planned + 1)):
                if (to << 32 | n) not in exempt:
                    yield to, n

    def _exempt_seen(self) -> int:
        return sum(self._seen(key >> 32, key & 0xFFFFFFFF) for key in self._exempt)

    def _seen(self, to: int, n: int) -> bool:
        return n <= self._highest[to] and n not in self._missing.get(to, ())
