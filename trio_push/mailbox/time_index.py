"""Things to be done at a time, a million of them, any of which may be struck out.

Used by the store for expiry and for pushes due later. Whole seconds are enough here: a bucket
per second gives adding and removing in constant time and leaves nothing behind, where a heap
would keep what was struck out until its time came. Pure; `now` is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import islice
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

#: seconds without a bucket that the heap may hold beyond twice those that have one
_SLACK: Final = 64


class TimeIndex(Generic[T]):
    """Items by the second they come due; each is hashable and in here once."""

    __slots__ = ("_buckets", "_len", "_seconds")

    def __init__(self) -> None:
        #: a dict for each, because a set forgets the order of adding
        self._buckets: dict[int, dict[T, None]] = {}
        #: heap of the seconds that have (or had) a bucket
        self._seconds: list[int] = []
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def add(self, at_epoch_s: float, item: T) -> None:
        second = int(at_epoch_s)
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = {}
            heapq.heappush(self._seconds, second)
        bucket[item] = None
        self._len += 1

    def discard(self, at_epoch_s: float, item: T) -> None:
        """Strike out what was added for that time; nothing happens when it is gone already."""
        second = int(at_epoch_s)
        bucket = self._buckets.get(second)
        if bucket is None or item not in bucket:
            return
        del bucket[item]
        self._len -= 1
        if not bucket:
            del self._buckets[second]
            self._forget_seconds()

    def _forget_seconds(self) -> None:
        """A second that is added to and emptied in turn must not fill the heap until it comes."""
        if len(self._seconds) > 2 * len(self._buckets) + _SLACK:
            self._seconds = list(self._buckets)
            heapq.heapify(self._seconds)

    def pop_second(self, until_epoch_s: float, limit: int | None = None) -> list[T]:
        """Take out the earliest second that begins by then, in the order of adding.

        With `limit`, at most so many of it. Empty when there is none. Items may come due up to
        one second after `until_epoch_s`: who pops compares the exact time.
        """
        while self._seconds and self._seconds[0] <= until_epoch_s:
            bucket = self._buckets.get(self._seconds[0])
            if bucket and limit is not None and len(bucket) > limit:
                self._len -= limit
                some = list(islice(bucket, limit))
                for item in some:
                    del bucket[item]
                return some
            self._buckets.pop(heapq.heappop(self._seconds), None)
            if bucket:
                self._len -= len(bucket)
                return list(bucket)
        return []
