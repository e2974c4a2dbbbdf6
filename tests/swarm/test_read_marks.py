from __future__ import annotations

import pytest

from trio_push.swarm import read_marks
from trio_push.swarm.audit import Audit, Deliveries
from trio_push.swarm.read_marks import ReadMarks
from trio_push.swarm.users import Users


def marks_of(known: range = range(6)) -> tuple[ReadMarks, Deliveries]:
    """Two users with three devices each."""
    audit = Audit(6)
    marks = ReadMarks(Users(6, 3, "u"), audit)
    for device in known:
        marks.came(device)
    return marks, audit.deliveries


def counts(deliveries: Deliveries) -> tuple[int, int, int, int]:
    return (
        deliveries.marked,
        deliveries.read_marks_due,
        deliveries.read_marks_seen,
        deliveries.read_marks_in_doubt,
    )


def test_all_others_hear_of_it_once() -> None:
    marks, deliveries = marks_of()
    marks.marked(1, "n")
    assert (counts(deliveries), marks.missing()) == ((1, 2, 0, 0), {0: 1, 2: 1})
    assert marks.received(0, "n")
    assert marks.received(2, "n")
    assert (counts(deliveries), marks.missing()) == ((1, 2, 2, 0), {})
    assert not marks.received(2, "n")
    assert not marks.received(1, "n")  # not even the one that said it
    assert not marks.received(5, "n")  # nor another user's
    assert deliveries.duplicate == 3


def test_devices_that_were_never_there_hear_of_nothing() -> None:
    marks, deliveries = marks_of(range(5))
    marks.marked(3, "n")
    assert counts(deliveries) == (1, 1, 0, 0)
    alone, deliveries = marks_of(range(1))
    alone.marked(0, "n")
    assert counts(deliveries) == (1, 0, 0, 0)


def test_marks_of_others() -> None:
    marks, deliveries = marks_of()
    assert marks.received(0, "n")
    assert counts(deliveries) == (0, 0, 0, 0)


def test_a_push_that_is_read_twice_is_told_once() -> None:
    marks, deliveries = marks_of()
    marks.marked(1, "n")
    marks.marked(1, "n")
    assert counts(deliveries) == (1, 2, 0, 0)


def test_the_last_words_of_a_connection_are_in_doubt_until_somebody_hears_of_them() -> None:
    marks, deliveries = marks_of()
    marks.marked(1, "old")
    marks.received(0, "old")
    marks.marked(1, "new")
    marks.gone(1)
    marks.gone(5)
    assert (counts(deliveries), marks.missing()) == ((2, 4, 1, 2), {2: 1})
    marks.received(2, "new")
    assert (counts(deliveries), marks.missing()) == ((2, 4, 2, 0), {0: 1, 2: 1})


def test_devices_take_turns() -> None:
    marks, _ = marks_of()
    turns = [[d for d in range(6) if marks.is_marked_by(d, n)] for n in (1, 2, 3, 4)]
    assert turns == [[1, 4], [2, 5], [0, 3], [1, 4]]


def test_what_all_have_heard_of_is_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_marks, "REMEMBERED", 2)
    marks, deliveries = marks_of()
    for name in "abc":
        marks.marked(0, name)
        marks.received(1, name)
        marks.received(2, name)
    assert [marks.received(1, name) for name in "abc"] == [True, False, False]
    assert deliveries.duplicate == 2
