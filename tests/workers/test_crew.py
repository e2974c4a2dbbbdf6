"""The parent's decisions, one case after another; the clock is a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_push.workers.crew import Accept, Crew, Drain, Order, Start


def crew_of(places: int) -> Crew:
    return Crew(places, chance=lambda: 0)


def complete_crew(places: int) -> Crew:
    """All are ready; their keys are their places."""
    crew = crew_of(places)
    for order in crew.start(0):
        assert isinstance(order, Start)
        crew.ready(order.key)
    assert crew.complete
    return crew


def test_nobody_accepts_before_all_are_ready() -> None:
    crew = crew_of(2)
    assert crew.start(0) == [Start(1, 1), Start(2, 2)]
    assert crew.ready(2) == []
    assert not crew.complete
    assert crew.ready(1) == [Accept(1), Accept(2)]
    assert crew.complete


def test_who_ends_is_started_again_and_the_others_are_left_alone() -> None:
    crew = complete_crew(2)
    assert crew.ended(1, now=10) == []
    assert crew.next_due() == 10.5
    assert crew.due(10.4) == []
    assert crew.due(10.5) == [Start(3, 1)]
    assert crew.next_due() is None
    assert crew.ready(3) == [Accept(3)]
    assert crew.deaths == 1


def test_who_ends_again_and_again_waits_longer() -> None:
    crew = complete_crew(1)
    now, key = 0.0, 1
    waited = []
    for _ in range(4):
        crew.ended(key, now)
        due = crew.next_due()
        assert due is not None
        waited.append(due - now)
        now = due
        [start] = crew.due(now)
        assert isinstance(start, Start)
        key = start.key
    assert waited == [0.5, 1, 2, 4]


def test_who_was_told_to_end_by_somebody_else_has_not_died() -> None:
    crew = complete_crew(1)
    crew.drained_itself(1)
    assert crew.ended(1, now=100) == []
    assert crew.deaths == 0
    assert crew.due(101) == [Start(2, 1)]


def test_workers_are_replaced_one_by_one() -> None:
    crew = complete_crew(2)
    assert crew.replace(now=5) == [Start(3, 1)]
    assert crew.ready(3) == [Accept(3), Drain(1, retiring=True)]
    assert crew.ended(1, now=6) == [Start(4, 2)]
    assert crew.ready(4) == [Accept(4), Drain(2, retiring=True)]
    assert crew.ended(2, now=7) == []
    assert crew.keys == [3, 4]
    assert crew.next_due() is None
    assert crew.deaths == 0


def test_a_second_wish_to_replace_waits_for_the_first() -> None:
    crew = complete_crew(2)
    assert crew.replace(now=5) == [Start(3, 1)]
    assert crew.replace(now=5) == []
    crew.ready(3)
    assert crew.ended(1, now=6) == [Start(4, 2)]
    crew.ready(4)
    assert crew.ended(2, now=7) == [Start(5, 1)]


def test_a_successor_that_does_not_begin_leaves_all_as_it_was() -> None:
    crew = complete_crew(2)
    crew.replace(now=5)
    assert crew.ended(3, now=6) == []
    assert crew.keys == [1, 2]
    assert crew.next_due() is None
    assert crew.replace(now=7) == [Start(4, 1)]


def test_a_predecessor_that_dies_early_is_succeeded() -> None:
    crew = complete_crew(2)
    crew.replace(now=5)
    assert crew.ended(1, now=6) == [Start(4, 2)]
    assert crew.ready(3) == [Accept(3)]
    assert crew.next_due() is None


def test_a_successor_that_dies_late_is_started_again() -> None:
    crew = complete_crew(1)
    crew.replace(now=5)
    crew.ready(2)
    assert crew.ended(2, now=6) == []
    assert crew.ended(1, now=7) == []
    assert crew.next_due() is not None


def test_all_are_drained_in_step() -> None:
    crew = complete_crew(2)
    crew.ended(1, now=1)
    crew.due(2)
    assert crew.stop() == [Drain(2, retiring=False), Drain(3, retiring=False)]
    assert crew.ready(3) == []
    assert crew.replace(now=3) == []
    assert crew.ended(2, now=3) == []
    assert crew.ended(3, now=3) == []
    assert crew.next_due() is None
    assert crew.keys == []


def test_nobody_is_replaced_before_all_are_there() -> None:
    crew = crew_of(1)
    crew.start(0)
    assert crew.replace(now=1) == []


EVENTS = st.lists(st.tuples(st.sampled_from(["ready", "end", "replace", "wait"]), st.integers(0)))


@given(st.integers(1, 4), EVENTS)
def test_whatever_happens_every_place_is_held_in_the_end(
    places: int, events: list[tuple[str, int]]
) -> None:
    """Places never have more than two workers, and each has one once all has calmed down."""
    crew = complete_crew(places)
    place_of = {key: key for key in range(1, places + 1)}
    unready: set[int] = set()
    draining: set[int] = set()
    now = 0.0

    def carry_out(orders: list[Order]) -> None:
        starts = [order for order in orders if isinstance(order, Start)]
        place_of.update((order.key, order.place) for order in starts)
        unready.update(order.key for order in starts)
        draining.update(order.key for order in orders if isinstance(order, Drain))
        holders = [place_of[key] for key in crew.keys]
        assert all(holders.count(place) <= 2 for place in holders)

    def ready(key: int) -> None:
        unready.discard(key)
        carry_out(crew.ready(key))

    for event, number in events:
        if event == "ready" and unready:
            ready(sorted(unready)[number % len(unready)])
        elif event == "end" and crew.keys:
            key = crew.keys[number % len(crew.keys)]
            unready.discard(key)
            carry_out(crew.ended(key, now))
        elif event == "replace":
            carry_out(crew.replace(now))
        now += 1
        carry_out(crew.due(now))
    for _ in range(10 * places):
        for key in sorted(unready):
            ready(key)
        for key in sorted(draining & set(crew.keys)):
            carry_out(crew.ended(key, now))
        now += 100
        carry_out(crew.due(now))
    assert sorted(place_of[key] for key in crew.keys) == list(range(1, places + 1))
