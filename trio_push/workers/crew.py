"""The parent's decisions: which worker is started, drained or killed, and when. Pure.

The parent tells what happens and carries out the orders that come back. A place is a number from
1 to N; a worker is known by the `key` that it got when it was ordered, and holds a place until it
has ended. While the workers are replaced one by one, a place has a worker and its successor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from trio_push.workers.backoff import Backoff


@dataclass(frozen=True, slots=True)
class Start:
    """Fork a worker for a place."""

    key: int
    place: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Let it take connections."""

    key: int


@dataclass(frozen=True, slots=True)
class Drain:
    """Let it say good-bye to its devices and end. `retiring`: others go on taking pushes."""

    key: int
    retiring: bool


Order: TypeAlias = Start | Accept | Drain


@dataclass(slots=True)
class _Worker:
    key: int
    place: int
    started_at: float
    ready: bool = False
    draining: bool = False


class Crew:
    """N places and who holds them. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, places: int, chance: Callable[[], float]) -> None:
        self._places = range(1, places + 1)
        self._backoffs = {place: Backoff(chance) for place in self._places}
        self._workers: dict[int, _Worker] = {}
        self._next_key = 1
        #: place → when its next worker is to be started
        self._vacant: dict[int, float] = {}
        #: places whose workers are still to be replaced
        self._to_replace: deque[int] = deque()
        #: the key of the worker that is to succeed another, and what it is to succeed
        self._succession: tuple[int, int] | None = None
        #: every place has had a worker that was ready at the same time
        self.complete = False
        self.stopping = False
        #: workers that ended although nobody had told them to
        self.deaths = 0

    @property
    def keys(self) -> list[int]:
        """Those that have been started and have not ended."""
        return list(self._workers)

    def start(self, now: float) -> list[Order]:
        """Begin: a worker for every place."""
        return [self._start(place, now) for place in self._places]

    def ready(self, key: int) -> list[Order]:
        """A worker can take connections: it may once the crew is complete."""
        worker = self._workers[key]
        worker.ready = True
        if self.stopping:
            return []
        if not self.complete:
            if len(self._ready()) < len(self._places):
                return []
            self.complete = True
            return [Accept(each.key) for each in self._ready()]
        orders: list[Order] = [Accept(key)]
        if self._succession is not None and self._succession[0] == key:
            orders += self._drain([self._succession[1]], retiring=True)
        return orders

    def ended(self, key: int, now: float) -> list[Order]:
        """A worker's process is gone, for whatever reason."""
        worker = self._workers.pop(key)
        if self.stopping:
            return []
        if not worker.draining:
            self.deaths += 1
        if self._succession is not None and key in self._succession:
            return self._succession_ended(worker, now)
        self._leave_vacant(worker, now)
        return []

    def drained_itself(self, key: int) -> None:
        """A worker ends because somebody told it to: that is no death."""
        self._workers[key].draining = True

    def due(self, now: float) -> list[Order]:
        """Start whose time has come."""
        places = [place for place, at in self._vacant.items() if at <= now]
        return [self._start(place, now) for place in places]

    def next_due(self) -> float | None:
        """When `due` has something to do again."""
        return min(self._vacant.values(), default=None)

    def replace(self, now: float) -> list[Order]:
        """Replace every worker, one after the other: the next is ready before one goes."""
        if self.stopping or not self.complete:
            return []
        self._to_replace.extend(place for place in self._places if place not in self._to_replace)
        return self._replace_next(now) if self._succession is None else []

    def stop(self) -> list[Order]:
        """End them all, in step."""
        self.stopping = True
        self._vacant.clear()
        self._to_replace.clear()
        return self._drain(self.keys, retiring=False)

    def _start(self, place: int, now: float) -> Start:
        self._vacant.pop(place, None)
        key = self._next_key
        self._next_key += 1
        self._workers[key] = _Worker(key, place, now)
        return Start(key, place)

    def _ready(self) -> list[_Worker]:
        return [each for each in self._workers.values() if each.ready]

    def _drain(self, keys: list[int], *, retiring: bool) -> list[Order]:
        for key in keys:
            self._workers[key].draining = True
        return [Drain(key, retiring) for key in keys]

    def _leave_vacant(self, worker: _Worker, now: float) -> None:
        delay_s = self._backoffs[worker.place].delay_s(now - worker.started_at)
        self._vacant[worker.place] = now + delay_s

    def _succession_ended(self, ended: _Worker, now: float) -> list[Order]:
        """One of the two of a place has ended, and the other has it for its own."""
        assert self._succession is not None
        successor, _ = self._succession
        self._succession = None
        if ended.key == successor and not ended.ready:
            # What could not begin is not tried on the others: they go on as they are.
            self._to_replace.clear()
            return []
        if not any(each.place == ended.place for each in self._workers.values()):
            self._leave_vacant(ended, now)
        return self._replace_next(now)

    def _replace_next(self, now: float) -> list[Order]:
        while self._to_replace:
            place = self._to_replace.popleft()
            holders = [each for each in self._workers.values() if each.place == place]
            if holders and not holders[0].draining:  # else a new one comes anyway
                start = self._start(place, now)
                self._succession = (start.key, holders[0].key)
                return [start]
        return []
