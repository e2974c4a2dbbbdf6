from __future__ import annotations

import pytest

from trio_push.swarm.position import Position
from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import Sync, SyncResult


def at(*seqs: int, start: Cursor | None = None) -> Position:
    """Of a device on its first connection."""
    position = Position(start)
    position.may_have_missed()
    for seq in seqs:
        assert position.received(seq)
    return position


def found(to: int, epoch: str = "e") -> SyncResult:
    return SyncResult(True, epoch, from_=0, to=to)


def test_one_that_was_never_there_has_missed_nothing() -> None:
    assert Position(Cursor("e", 3)).ask() is None


def test_one_that_has_seen_nothing_asks_from_the_start_if_that_is_known() -> None:
    assert at().ask() is None
    assert at(start=Cursor("e", 3)).ask() == Sync(3, "e")
    assert at(start=Cursor("e", 0)).ask() == Sync(0, "e")


def test_asks_from_the_highest_on() -> None:
    assert at(3, 9).ask() == Sync(9, None)
    assert at(5, 9, start=Cursor("e", 3)).ask() == Sync(9, "e")


def test_knows_the_epoch_once_it_was_told() -> None:
    position = at(3)
    position.ask()
    position.received(7)
    position.answered(found(to=6))
    position.received(8)
    assert position.ask() == Sync(8, "e")


@pytest.mark.parametrize(
    ("came", "base"),
    [
        #  before the answer, after it
        (([7], None), 3),
        (([7], []), 3),
        (([], [5, 6]), 3),
        (([7], [5, 6]), 3),
        (([7], [5, 6, 9]), 9),
        (([], [9]), 9),
    ],
)
def test_has_everything_only_when_something_newer_than_the_answer_came(
    came: tuple[list[int], list[int] | None], base: int
) -> None:
    before, after = came
    position = at(3)
    position.ask()
    for seq in before:
        assert position.received(seq)
    if after is not None:
        position.answered(found(to=8))
        for seq in after:
            assert position.received(seq)
    asked = position.ask()
    assert asked is not None
    assert asked.last_seen == base


def test_what_comes_again_because_it_was_asked_for_again_is_no_news() -> None:
    position = at(3)
    position.ask()
    position.answered(found(to=8))
    assert [position.received(seq) for seq in (4, 5)] == [True, True]  # and cut off
    position.ask()
    assert position.received(9)  # stored for it meanwhile
    position.answered(found(to=10))
    # 5 twice: that is not what was asked for
    assert [position.received(seq) for seq in (4, 5, 5, 6)] == [False, False, True, True]
    assert position.ask() == Sync(3, "e")
    position.answered(found(to=11))
    assert [position.received(seq) for seq in (4, 5, 6, 9, 12)] == [False] * 4 + [True]
    assert position.ask() == Sync(12, "e")


def test_numbers_of_another_life_are_forgotten() -> None:
    position = at(300, start=Cursor("old", 5))
    assert position.ask() == Sync(300, "old")
    position.received(400)
    position.answered(SyncResult(False, "new", from_=300, to=4))
    assert position.ask() == Sync(4, "new")
    position.answered(found(to=4, epoch="new"))
    position.received(5)
    assert position.ask() == Sync(5, "new")


def test_another_life_is_noticed_without_an_epoch_too() -> None:
    position = at(300)
    position.ask()
    position.answered(SyncResult(False, "new", from_=300, to=4))
    assert position.ask() == Sync(4, "new")


def test_what_remains_of_what_was_missed_follows_although_it_is_not_all() -> None:
    position = at(300, start=Cursor("e", 5))
    position.ask()
    position.answered(SyncResult(False, "e", from_=300, to=500))
    position.received(450)
    assert position.ask() == Sync(300, "e")


def test_an_answer_that_nobody_asked_for() -> None:
    position = at(3)
    position.answered(found(to=9))
    assert position.ask() == Sync(3, None)
