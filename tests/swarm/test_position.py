from __future__ import annotations

from trio_push.swarm.position import Position
from trio_push.wire.messages import Sync, SyncResult


def at(*seqs: int) -> Position:
    position = Position()
    for seq in seqs:
        position.received(seq)
    return position


def test_one_that_has_seen_nothing_asks_for_nothing() -> None:
    assert Position().ask() is None


def test_asks_from_the_highest_on() -> None:
    assert at(3, 9, 5).ask() == Sync(9, None)


def test_knows_the_epoch_once_it_was_told() -> None:
    position = at(3)
    position.ask()
    position.received(7)
    position.answered(SyncResult(True, "e", from_=3, to=6))
    assert position.ask() == Sync(7, "e")


def test_what_came_before_the_answer_does_not_hide_what_was_missed() -> None:
    position = at(3)
    position.ask()
    position.received(7)
    assert position.ask() == Sync(3, None)


def test_numbers_of_another_life_are_forgotten() -> None:
    position = at(300)
    position.ask()
    position.answered(SyncResult(False, "new", from_=300, to=4))
    assert position.ask() == Sync(4, "new")
    position.received(5)
    position.answered(SyncResult(True, "new", from_=4, to=5))
    assert position.ask() == Sync(5, "new")
