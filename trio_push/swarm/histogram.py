"""Durations in log-linear buckets: cheap to record, small, mergeable.

Every duration of a run goes through one of these. Pure counting, no I/O; picklable, so that
several processes can add up theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: buckets per doubling are half of this: a percentile is at most 1/128 too high, never too low
_SUB_BUCKETS = 256
_BITS = _SUB_BUCKETS.bit_length() - 1

#: the percentiles of a report, by name
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass(slots=True)
class Histogram:
    """Counts of durations. Below 256 µs a bucket is 1 µs wide, above it at most 1/128 of its value.

    Negative durations, which two clocks can bring about, count as zero.
    """

    #: bucket → durations in it; the keys rise with the duration
    counts: dict[int, int] = field(default_factory=dict)
    count: int = 0
    max_us: int = 0

    def record(self, duration_s: float) -> None:
        us = max(0, int(duration_s * 1e6))
        if us > self.max_us:
            self.max_us = us
        shift = us.bit_length() - _BITS
        key = (shift << _BITS) + (us >> shift) if shift > 0 else us
        self.counts[key] = self.counts.get(key, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Add what `other` has counted."""
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count
        self.count += other.count
        self.max_us = max(self.max_us, other.max_us)

    def since(self, before: Histogram) -> Histogram:
        """What was recorded after `before`, a copy of this from then; its longest is that of all.

        Merged with others that hold what came before, it gives what recording all there would.
        """
        counts = {}
        if self.count != before.count:  # as it rarely is where one of several is looked at
            counts = {
                key: count - seen
                for key, count in self.counts.items()
                if count != (seen := before.counts.get(key, 0))
            }
        return Histogram(counts, self.count - before.count, self.max_us)

    def percentile_s(self, q: float) -> float | None:
        """The duration that the share `q` of all does not exceed; None when there is none."""
        rank = q * self.count
        seen = 0
        for key in sorted(self.counts):
            seen += self.counts[key]
            if seen >= rank:
                return min(_highest_us(key), self.max_us) / 1e6
        return None

    @property
    def max_s(self) -> float | None:
        return self.max_us / 1e6 if self.count else None

    def summary_ms(self) -> dict[str, float | None]:
        """p50, p90, p99, p999 and max in milliseconds, None when nothing was recorded."""
        values = {name: self.percentile_s(q) for name, q in PERCENTILES.items()}
        values["max"] = self.max_s
        return {name: None if s is None else round(s * 1e3, 3) for name, s in values.items()}


def _highest_us(key: int) -> int:
    """The longest duration that falls into a bucket."""
    shift, value = key >> _BITS, key & (_SUB_BUCKETS - 1)
    return (value << shift) + (1 << shift) - 1
