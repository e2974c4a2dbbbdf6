"""When a worker accepts from the sockets that it shares with the others.

A connection wakes all of them, and the first to ask gets it; the others have come for nothing, and
rest for a while. Devices stay, so that luck would add up: who has more than its share gives the
others a head start, and who is full leaves the sockets alone while another has room. Nobody waits
for another longer than that: one that has stopped altogether takes nothing, and the rest take its
part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import trio

from trio_push.workers.scoreboard import Column, Scoreboard

#: Connections taken before others get their chance. A lone process takes more at a time.
BATCH: Final = 8
#: what a worker may have above the average before it holds back: a share of it, and a few
SLACK: Final = 0.01
FEW: Final = 4
#: time in which others, once woken, have taken what waits
HEAD_START_S: Final = 0.004
#: Time that who came for nothing rests, for each worker there is: however many they are, they come
#: for nothing so many times a second in all.
REST_S: Final = 0.002
#: time between two looks of a full worker whether there is room anywhere
FULL_S: Final = 0.1
#: seconds after which a row that is not written any more says nothing about its worker
STALE_S: Final = 2.0


class Load(NamedTuple):
    """How many connections a worker has, and how many devices fit."""

    connections: int
    capacity: int

    @property
    def is_full(self) -> bool:
        return self.connections >= self.capacity


def leaves_alone(own: Load, others: Sequence[Load]) -> bool:
    """Whether a worker has no room and another has."""
    return own.is_full and not all(each.is_full for each in others)


def holds_back(own: Load, others: Sequence[Load]) -> bool:
    """Whether a worker has more connections than its share: the average of those with room."""
    theirs = [each.connections for each in others if not each.is_full]
    if not theirs:
        return False
    average = (own.connections + sum(theirs)) / (1 + len(theirs))
    return own.connections > average * (1 + SLACK) + FEW


class Share:
    """The turns of one worker on every listener."""

    batch = BATCH

    def __init__(self, board: Scoreboard, number: int) -> None:
        self._board = board
        self._number = number
        self._row = board.rows[number]
        self._may_begin = trio.Event()
        self._connections: Callable[[], int] = lambda: 0

    def prepare(self, connections: Callable[[], int], capacity: int) -> None:
        """There is room for so many; `connections` counts those that there are."""
        self._connections = connections
        self._row[Column.CAPACITY] = capacity
        self.beat()
        self._row[Column.ACCEPTING] = 1

    def begin(self) -> None:
        """Accept from now on."""
        self._may_begin.set()

    def beat(self) -> None:
        """Say that this worker is alive, and how many connections it has."""
        self._row[Column.CONNECTIONS] = self._connections()
        self._row[Column.BEAT_MS] = _now_ms()

    async def wait(self) -> None:
        """Return when it is this worker's turn to accept. A checkpoint only if it waits."""
        if not self._may_begin.is_set():
            await self._may_begin.wait()
        own, others = self._loads()
        while leaves_alone(own, others):
            await trio.sleep(FULL_S)
            own, others = self._loads()
        if holds_back(own, others):
            await trio.sleep(HEAD_START_S)

    async def rest(self) -> None:
        """Return when it makes sense to look again, after others were quicker."""
        _, others = self._loads()
        await trio.sleep(REST_S * (1 + len(others)))

    def _loads(self) -> tuple[Load, list[Load]]:
        """This worker's, which is told the others, and theirs."""
        own = Load(self._connections(), self._row[Column.CAPACITY])
        self._row[Column.CONNECTIONS] = own.connections
        return own, self._others()

    def _others(self) -> list[Load]:
        """Those that accept and are alive."""
        oldest = _now_ms() - int(1000 * STALE_S)
        board = self._board
        figures = zip(
            board.column(Column.CONNECTIONS),
            board.column(Column.CAPACITY),
            board.column(Column.ACCEPTING),
            board.column(Column.BEAT_MS),
            strict=True,
        )
        return [
            Load(connections, capacity)
            for number, (connections, capacity, accepting, beat_ms) in enumerate(figures)
            if accepting and beat_ms >= oldest and number != self._number
        ]


def _now_ms() -> int:
    """One clock for all processes of a machine."""
    return int(1000 * time.monotonic())
