from __future__ import annotations

import pytest

from trio_push.swarm.position import Position
from trio_push.wire.cursor import Cursor
from trio_push.wire.messages import Sync, SyncResult


def received(position: Position, *seqs: int, epoch: str = "e", offset: int = 0) -> list[bool]:
    """Which events are news. Each has its number for an id, and at another node is numbered
    anew."""
    return [position.received(epoch, offset + seq, str(seq)) for seq in seqs]


def at(*seqs: int, start: Cursor | None = None) -> Position:
    """Of a device on its first connection."""
    position = Position(start)
    position.may_have_missed()
    assert all(received(position, *seqs))
    return position


def found(to: int, epoch: str = "e", *, recovered: bool = True) -> SyncResult:
    return SyncResult(recovered, epoch, from_=0, to=to)


def test_one_that_was_never_there_has_missed_nothing() -> None:
    assert Position(Cursor("e", 3)).ask() is None


def test_one_that_has_seen_nothing_asks_from_the_start_if_that_is_known() -> None:
    assert at().ask() is None
    assert at(start=Cursor("e", 3)).ask() == Sync(3, "e")
    assert at(start=Cursor("e", 0)).ask() == Sync(0, "e")


def test_asks_from_the_highest_on() -> None:
    assert at(3, 9).ask() == Sync(9, "e")
    assert at(5, 9, 7, start=Cursor("e", 3)).ask() == Sync(9, "e")


def test_the_start_may_be_of_another_node() -> None:
    assert at(5, 9, start=Cursor("other", 30)).ask() == Sync(9, "e")


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
    assert all(received(position, *before))
    if after is not None:
        position.answered(found(to=8))
        assert all(received(position, *after))
    asked = position.ask()
    assert asked is not None
    assert asked.last_seen == base


def test_what_comes_again_because_it_was_asked_for_again_is_no_news() -> None:
    position = at(3)
    position.ask()
    position.answered(found(to=8))
    assert received(position, 4, 5) == [True, True]  # and cut off
    position.ask()
    assert received(position, 9) == [True]  # stored for it meanwhile
    position.answered(found(to=10))
    # 5 twice: that is not what was asked for
    assert received(position, 4, 5, 5, 6) == [False, False, True, True]
    assert position.ask() == Sync(3, "e")
    position.answered(found(to=11))
    assert received(position, 4, 5, 6, 9, 12) == [False] * 4 + [True]
    assert position.ask() == Sync(12, "e")


def test_what_was_missed_is_brought_by_other_nodes() -> None:
    position = at(3)
    position.ask()
    assert received(position, 6, epoch="b", offset=100) == [True]
    position.answered(found(to=110, epoch="b"))
    assert received(position, 4, epoch="b", offset=105) == [True]  # and cut off
    assert position.ask() == Sync(3, "e")
    position.answered(found(to=210, epoch="c"))
    assert received(position, 4, 5, 6, epoch="c", offset=200) == [False, True, False]
    assert position.ask() == Sync(3, "e")
    position.answered(found(to=310, epoch="b"))
    assert received(position, 4, 5, 6, 20, epoch="b", offset=300) == [False] * 3 + [True]
    assert position.ask() == Sync(320, "b")


def test_numbers_of_another_life_are_forgotten() -> None:
    position = at(300, start=Cursor("old", 5))
    position.ask()
    received(position, 3, epoch="new")
    position.answered(found(to=4, epoch="new", recovered=False))
    assert position.ask() == Sync(4, "new")
    position.answered(found(to=4, epoch="new"))
    received(position, 5, epoch="new")
    assert position.ask() == Sync(5, "new")


def test_numbers_of_an_older_copy_of_the_store_are_forgotten_too() -> None:
    position = at(300)
    position.ask()
    position.answered(found(to=4, recovered=False))
    assert position.ask() == Sync(4, "e")


def test_what_remains_of_what_was_missed_follows_although_it_is_not_all() -> None:
    position = at(300, start=Cursor("e", 5))
    position.ask()
    position.answered(found(to=500, recovered=False))
    received(position, 450)
    assert position.ask() == Sync(300, "e")


def test_an_answer_that_nobody_asked_for() -> None:
    position = at(3)
    position.answered(found(to=9))
    assert position.ask() == Sync(3, "e")
