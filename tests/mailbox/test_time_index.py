from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.mailbox.time_index import TimeIndex


def index_of(*items: tuple[float, str]) -> TimeIndex[str]:
    index: TimeIndex[str] = TimeIndex()
    for at, item in items:
        index.add(at, item)
    return index


def drain(index: TimeIndex[str], until: float, limit: int | None = None) -> list[list[str]]:
    popped = []
    while batch := index.pop_second(until, limit):
        popped.append(batch)
    return popped


@pytest.mark.parametrize(
    ("items", "until", "popped"),
    [
        pytest.param([], 100, [], id="nothing"),
        pytest.param([(10.5, "a")], 9.999, [], id="not yet"),
        pytest.param([(10.5, "a")], 10, [["a"]], id="its second has begun"),
        pytest.param([(12, "c"), (10, "a"), (11, "b")], 11, [["a"], ["b"]], id="earliest first"),
        pytest.param([(10.9, "b"), (10.1, "a")], 10, [["b", "a"]], id="order of adding"),
    ],
)
def test_pops_a_second_at_a_time(
    items: list[tuple[float, str]], until: float, popped: list[list[str]]
) -> None:
    index = index_of(*items)
    assert drain(index, until) == popped
    assert len(index) == len(items) - sum(map(len, popped))


def test_a_limit_takes_part_of_a_second() -> None:
    index = index_of(*((10, str(n)) for n in range(5)), (11, "x"))
    assert drain(index, 10, limit=2) == [["0", "1"], ["2", "3"], ["4"]]
    assert len(index) == 1


def test_what_is_struck_out_does_not_come() -> None:
    index = index_of((10, "a"), (10, "b"), (11, "c"))
    index.discard(10, "a")
    index.discard(11, "c")
    index.discard(10, "a")
    index.discard(99, "z")
    assert drain(index, 20) == [["b"]]
    assert len(index) == 0


def test_a_second_may_be_filled_again_after_it_was_popped() -> None:
    index = index_of((10, "a"))
    assert drain(index, 10) == [["a"]]
    index.add(10, "b")
    assert drain(index, 10) == [["b"]]


def test_adding_and_striking_out_leaves_nothing_behind() -> None:
    """One token whose newest push wins, all day long: every push comes and goes in a second."""
    index = index_of((86_400, "other"))
    for n in range(10_000):
        index.add(n // 100, "a")
        index.discard(n // 100, "a")
    assert len(index._seconds) < 100
    assert drain(index, 86_400) == [["other"]]


items = st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60)


@given(items, st.lists(st.tuples(st.integers(0, 22), st.integers(1, 5)), max_size=10))
def test_it_gives_back_what_was_put_in(
    added: list[tuple[int, bool]], pops: list[tuple[int, int]]
) -> None:
    index: TimeIndex[int] = TimeIndex()
    left = {}
    for item, (at, kept) in enumerate(added):
        index.add(at + 0.5, item)
        if kept:
            left[item] = at
        else:
            index.discard(at + 0.5, item)
    for until, limit in pops:
        batch = index.pop_second(until, limit)
        due = [item for item, at in left.items() if at <= until]
        earliest = [item for item in due if left[item] == min(left[i] for i in due)]
        assert batch == earliest[:limit]
        for item in batch:
            del left[item]
        assert len(index) == len(left)
