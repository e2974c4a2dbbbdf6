"""Requests that wait for another attempt, by when it is due. Pure; used by the client alone."""

from __future__ import annotations

import heapq
import math
from itertools import count

from trio_push.apns.flight import Flight


class Waiting:
    """A heap; what is removed stays in it until it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flight]] = []
        self._numbers = count()
        self._flights: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def next_at(self) -> float:
        """When the next one is due; infinity if none waits."""
        while self._heap and self._heap[0][2] not in self._flights:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def add(self, at: float, flight: Flight) -> None:
        self._flights.add(flight)
        heapq.heappush(self._heap, (at, next(self._numbers), flight))

    def due(self, now: float) -> Flight | None:
        """Take out the first that is due, if one is."""
        if self.next_at > now:
            return None
        _, _, flight = heapq.heappop(self._heap)
        self._flights.remove(flight)
        return flight

    def remove(self, flight: Flight) -> None:
        self._flights.discard(flight)

    def clear(self) -> None:
        self._flights.clear()
        self._heap.clear()
