from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fault.process import ROOT
from trio_push.push import State
from trio_push.watch.ledger import Ledger
from trio_push.workers.scoreboard import Column, Row, Scoreboard, bury


@pytest.fixture
def board() -> Scoreboard:
    board, fd = Scoreboard.create(3)
    os.close(fd)
    return board


def test_both_see_the_same() -> None:
    ours, fd = Scoreboard.create(2)
    theirs = Scoreboard(fd, 2)
    os.close(fd)
    ours.rows[1][Column.DEVICES] = 2**40
    assert theirs.rows[1][Column.DEVICES] == 2**40
    assert theirs.rows[0][Column.DEVICES] == 0


def test_another_process_sees_it() -> None:
    board, fd = Scoreboard.create(2)
    code = (
        "from trio_push.workers.scoreboard import Column, Scoreboard;"
        f"Scoreboard({fd}, 2).rows[1][Column.DEVICES] = 7"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, pass_fds=[fd], check=True)
    os.close(fd)
    assert board.rows[1][Column.DEVICES] == 7


NUMBERS = range(1, len(State) + 1)


def counted(row: Row) -> Ledger:
    """A ledger that counts in a row: so many pushes in each state."""
    ledger = Ledger(row.counts, row.origins)
    ledger.take_over(State.STORED, 3)
    for n, state in enumerate(State, 1):
        ledger.enter(state, n)
    return ledger


def test_a_ledger_counts_in_it(board: Scoreboard) -> None:
    row = board.rows[2]
    ledger = counted(row)
    assert list(row.counts) == [n + (3 if n == State.STORED + 1 else 0) for n in NUMBERS]
    assert list(row.origins) == [0, 3, 0]
    ledger.move(State.STORED, State.EXPIRED)
    assert row.counts[State.EXPIRED] == State.EXPIRED + 2
    assert ledger.snapshot({state: row.counts[state] for state in State})["balanced"]
    assert not any(board.rows[1].counts)


def test_a_row_that_is_free_is_not_among_them(board: Scoreboard) -> None:
    assert list(board.taken()) == []
    board.rows[2][Column.TAKEN] = 1
    assert list(board.taken()) == [board.rows[2]]


def test_what_the_dead_have_counted_stays_and_balances(board: Scoreboard) -> None:
    row = board.rows[1]
    for _ in range(2):
        accepted = counted(row).accepted
        row[Column.DEVICES] = 5
        bury(row, board.past)
        assert not any(row.counts)
        assert row[Column.DEVICES] == 0
    past = board.past
    assert 2 * accepted + sum(past.origins) == sum(past.counts)
    assert past.counts[State.DELIVERED_LIVE] == 2 * (State.DELIVERED_LIVE + 1)
    assert not any(past.counts[state] for state in State if state.is_open)
