"""Figures of every worker in memory that all of them and the parent share.

A worker writes its own row and reads those of others without asking anybody: who has more devices
than its share lets others accept, and `/stats` shows the sum. The ledger counts in it, so that what
a worker had counted outlives a kill. Figures of one row may be from two moments.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, MutableSequence
from enum import IntEnum
from typing import cast

from trio_push.push import State

#: bytes of one figure; the kernel's and the machine's word, so that none is ever half written
_WORD = 8

#: open states of a push that is in the hands of a connection
_IN_MEMORY = (State.QUEUED, State.IN_FLIGHT)


class Column(IntEnum):
    """The figures of a row; the counts of the ledger follow, by State."""

    #: 0: nobody holds the row
    TAKEN = 0
    #: accepts connections, or is about to, or would if there were room
    ACCEPTING = 1
    #: connections that are devices, or may become some
    CONNECTIONS = 2
    CAPACITY = 3
    #: when the row was written last: milliseconds of the machine's monotonic clock
    BEAT_MS = 4
    DEVICES = 5
    #: pushes that were not accepted here, as in `Ledger.origins`
    RESTORED = 6
    TAKEN_OVER = 7
    REPEATED = 8


_WIDTH = len(Column) + len(State)


class Row:
    """The figures of one worker."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def __getitem__(self, column: Column) -> int:
        value: int = self._words[column]
        return value

    def __setitem__(self, column: Column, value: int) -> None:
        self._words[column] = value

    @property
    def counts(self) -> MutableSequence[int]:
        """Pushes in each State, to be counted there."""
        return cast(MutableSequence[int], self._words[len(Column) :])

    @property
    def origins(self) -> MutableSequence[int]:
        """Pushes that were not accepted here, to be counted there."""
        return cast(MutableSequence[int], self._words[Column.RESTORED : Column.REPEATED + 1])

    def clear(self) -> None:
        for i in range(_WIDTH):
            self._words[i] = 0


class Scoreboard:
    """Row 0 is what has been left by workers that ended; the others are the workers'."""

    def __init__(self, fd: int, rows: int) -> None:
        """Share the memory of `fd`, which may be closed after."""
        self._memory = mmap.mmap(fd, rows * _WIDTH * _WORD)
        self._words = memoryview(self._memory).cast("q")
        self.rows = [Row(self._words[i * _WIDTH : (i + 1) * _WIDTH]) for i in range(rows)]

    @classmethod
    def create(cls, rows: int) -> tuple[Scoreboard, int]:
        """New memory, and the file by which others get at it."""
        fd = os.memfd_create("trio-push-scoreboard")
        os.ftruncate(fd, rows * _WIDTH * _WORD)
        return cls(fd, rows), fd

    @property
    def past(self) -> Row:
        return self.rows[0]

    def taken(self) -> Iterator[Row]:
        """The rows of workers that there are."""
        return (row for row in self.rows[1:] if row[Column.TAKEN])

    def column(self, column: Column) -> list[int]:
        """One figure of every row, free ones too, at a fraction of the cost of row by row."""
        return self._words[column::_WIDTH].tolist()


def bury(row: Row, past: Row) -> None:
    """Leave what an ended worker had counted to the past, and the row to the next one.

    What only its memory held is lost. What it held for devices that are away, or are to
    acknowledge it, lies in Redis, too, and is as good as handed over.
    """
    for column in (Column.RESTORED, Column.TAKEN_OVER, Column.REPEATED):
        past[column] += row[column]
    counts = past.counts
    for state, n in zip(State, row.counts, strict=True):
        if state.is_open:
            state = State.LOST if state in _IN_MEMORY else State.HANDED_OVER
        counts[state] += n
    row.clear()
