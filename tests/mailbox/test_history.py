"""The history against a list that forgets nothing."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import T0, push
from trio_push.mailbox.history import CameFrom, History, Shelf
from trio_push.push import Numbered


def filled(per_token: int, total: int, deliveries: list[str]) -> History:
    history = History(per_token=per_token, total=total)
    for seq, token in enumerate(deliveries, start=1):
        history.add(token, Numbered(seq, push(token=token)))
    return history


@given(
    deliveries=st.lists(st.sampled_from(["aa", "bb", "cc"]), max_size=40),
    per_token=st.integers(1, 6),
    total=st.integers(1, 15),
    seen=st.integers(0, 45),
)
def test_what_it_calls_complete_is_complete(
    deliveries: list[str], per_token: int, total: int, seen: int
) -> None:
    history = filled(per_token, total, deliveries)
    assert len(history) <= total
    for token in "aa", "bb", "cc", "dd":
        numbers = [seq for seq, to in enumerate(deliveries, start=1) if to == token]
        expected = [seq for seq in numbers if seq > seen]
        missed = history.since(token, seen, T0)
        got = [numbered.seq for numbered in missed.events]
        assert got == expected[len(expected) - len(got) :]
        if missed.complete:
            assert got == expected
        if len(deliveries) <= total and len(numbers) <= per_token:
            assert missed.complete


def test_expired_pushes_are_not_given_again() -> None:
    history = History(per_token=5, total=5)
    history.add("aa", Numbered(1, push(b"old", ttl_s=5)))
    history.add("aa", Numbered(2, push(b"new", ttl_s=50)))
    assert [n.seq for n in history.since("aa", 0, T0 + 10).events] == [2]


def test_only_what_was_delivered_before_a_mark() -> None:
    history = filled(5, 5, ["aa", "aa"])
    mark = history.mark
    history.add("aa", Numbered(3, push()))
    assert [n.seq for n in history.since("aa", 1, T0, before=mark).events] == [2]


def test_forgotten_token() -> None:
    history = filled(5, 5, ["aa", "bb"])
    history.forget("aa")
    assert history.since("aa", 0, T0).events == []
    assert len(history.since("bb", 0, T0).events) == 1


def test_nothing_is_left_of_tokens_that_fell_out() -> None:
    history = filled(2, 3, ["aa", "aa", "aa", "bb", "cc", "dd"])
    assert set(history._by_token) == {"bb", "cc", "dd"}
    assert history._floors == {}


# -- what others know


def moved() -> History:
    """Of a token that was at b before 3, at c before 6, and here for the rest."""
    history = History(per_token=5, total=9)
    for each in Numbered(1, push(b"1")), CameFrom(3, "b"), Numbered(4, push(b"4")):
        history.add("aa", each)
    history.add("aa", CameFrom(6, "c"))
    return history


def test_who_else_may_have_delivered_since() -> None:
    history = moved()
    since = {seq: history.origins("aa", seq) for seq in (0, 2, 3, 5, 6)}
    assert since == {0: ["c", "b"], 2: ["c", "b"], 3: ["c"], 5: ["c"], 6: []}
    assert history.origins("bb", 0) == []
    assert [n.seq for n in history.since("aa", 0, T0).events] == [1, 4]
    assert history.since("aa", 0, T0).complete


def test_what_others_delivered_is_known_from_then_on() -> None:
    history = moved()
    history.know_after("aa", 2)
    history.know_after("aa", 4)
    history.know_after("bb", 1)
    assert [history.origins("aa", seq) for seq in (1, 2, 5)] == [["c", "b"], [], []]


def test_who_comes_and_goes_is_noted_once_between_two_deliveries() -> None:
    history = History(per_token=4, total=9)
    for seq, node in enumerate("bcbcb", start=1):
        history.add("aa", CameFrom(seq, node))
    assert history.origins("aa", 3) == ["b", "c"]
    assert history.origins("aa", 4) == ["b"]
    history.add("aa", Numbered(6, push()))
    history.add("aa", CameFrom(7, "b"))
    assert history.origins("aa", 0) == ["b", "b", "c"]
    assert history.since("aa", 0, T0).complete


def test_who_delivered_before_is_forgotten_as_what_is_delivered() -> None:
    history = moved()
    for seq in 7, 8, 9:
        history.add("aa", Numbered(seq, push()))
    assert history.origins("aa", 0) == ["c"]
    assert not history.since("aa", 2, T0).complete
    assert history.since("aa", 3, T0).complete


@pytest.mark.parametrize(
    ("last_seen", "seq"), [(1, 1), (4, 4), ("4", 4), ("1", 1), (3, None), ("3", None), (7, None)]
)
def test_finding_what_was_seen(last_seen: int | str, seq: int | None) -> None:
    assert moved().find("aa", last_seen) == seq
    assert moved().find("bb", last_seen) is None


def test_a_shelf_is_a_history_of_its_own() -> None:
    history = moved()
    history.add("bb", Numbered(7, push(token="bb")))
    assert list(history.tokens()) == ["bb", "aa"]
    shelf = history.shelf("aa")
    again = History.of("aa", msgspec.convert(msgspec.to_builtins(shelf), Shelf))
    assert again.shelf("aa") == shelf
    for seq in range(7):
        assert again.since("aa", seq, T0) == history.since("aa", seq, T0)
        assert again.origins("aa", seq) == history.origins("aa", seq)
    assert History.of("cc", history.shelf("cc")).shelf("cc") == Shelf(0, [], [])


def test_a_shelf_knows_from_where_on() -> None:
    history = History(per_token=2, total=9)
    for seq in 1, 2, 3:
        history.add("aa", Numbered(seq, push()))
    again = History.of("aa", history.shelf("aa"))
    assert [again.since("aa", seq, T0).complete for seq in (0, 1)] == [False, True]
