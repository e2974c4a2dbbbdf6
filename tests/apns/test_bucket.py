from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.apns.bucket import Bucket


def test_at_rest_it_is_full_and_then_the_rate_rules() -> None:
    bucket = Bucket(100)
    assert bucket.burst == 5
    passed = 0
    while not bucket.wait_s(10.0):
        bucket.take(1, 10.0)
        passed += 1
    assert passed == 5
    assert bucket.wait_s(10.0) == pytest.approx(0.01)
    assert bucket.wait_s(10.01) == 0


def test_a_slow_rate_lets_one_pass_at_a_time() -> None:
    bucket = Bucket(0.5)
    assert bucket.wait_s(0) == 0
    bucket.take(1, 0)
    assert bucket.wait_s(0) == pytest.approx(2)


def test_debt_is_paid_before_anything_passes() -> None:
    bucket = Bucket(1000)
    bucket.take(5050, 0)
    assert bucket.wait_s(0) == pytest.approx(5.001)
    assert bucket.wait_s(5.001) == 0


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = Bucket(10)
    bucket.take(1, 5)
    assert bucket.wait_s(5) == bucket.wait_s(4) == pytest.approx(0.1)


@given(
    rate=st.floats(0.1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 500)), max_size=60),
)
def test_never_more_than_the_rate_in_any_time(
    rate: float, steps: list[tuple[float, float]]
) -> None:
    bucket = Bucket(rate)
    now = 0.0
    taken: list[tuple[float, float]] = []
    for pause_s, units in steps:
        now += pause_s
        if wait_s := bucket.wait_s(now):
            now += wait_s
            if bucket.wait_s(now):  # rounding
                now += 1e-6 + bucket.wait_s(now)
        bucket.take(units, now)
        taken.append((now, units))
    for i, (start, _) in enumerate(taken):
        for j in range(i, len(taken)):
            # all but the last, whose cost may only be known afterwards
            passed = sum(units for _, units in taken[i:j])
            assert passed <= rate * (taken[j][0] - start) + bucket.burst + 1e-3
