from __future__ import annotations

from trio_push.workers.backoff import FIRST_S, HEALTHY_S, JITTER, LONGEST_S, Backoff


def delays(backoff: Backoff, *lived_s: float) -> list[float]:
    return [backoff.delay_s(each) for each in lived_s]


def test_delays_double_up_to_the_longest() -> None:
    assert delays(Backoff(lambda: 0), *[1.0] * 8) == [0.5, 1, 2, 4, 8, 16, LONGEST_S, LONGEST_S]


def test_who_lived_long_begins_anew() -> None:
    backoff = Backoff(lambda: 0)
    assert delays(backoff, 0, 0, HEALTHY_S - 1, HEALTHY_S, 0) == [0.5, 1, 2, FIRST_S, 1]


def test_a_part_is_left_to_chance() -> None:
    assert delays(Backoff(lambda: 1), 0, 0) == [FIRST_S * (1 - JITTER), 2 * FIRST_S * (1 - JITTER)]
