from __future__ import annotations

import pytest

from trio_push.wire.apns_strict_rate import BURST_S, DeviceRate


@pytest.mark.parametrize(("per_s", "at_once"), [(1, 10), (10, 100), (0.5, 5), (0.01, 1), (3, 30)])
def test_so_many_at_once_and_then_at_the_rate(per_s: float, at_once: int) -> None:
    rate = DeviceRate(per_s)
    now = 1e9
    assert [rate.is_too_many("a", now) for _ in range(at_once + 1)] == [False] * at_once + [True]
    assert not rate.is_too_many("b", now)
    now += 1 / per_s
    assert not rate.is_too_many("a", now)
    assert rate.is_too_many("a", now)


def test_a_steady_rate_is_taken_for_ever() -> None:
    rate = DeviceRate(2)
    assert not any(rate.is_too_many("a", 1e9 + n / 2) for n in range(1000))
    assert sum(rate.is_too_many("b", 1e9 + n / 4) for n in range(1000)) == pytest.approx(480, abs=2)


def test_no_limit() -> None:
    rate = DeviceRate(0)
    assert not any(rate.is_too_many("a", 0) for _ in range(10_000))
    assert not rate._young


def test_who_is_left_alone_is_forgotten() -> None:
    rate = DeviceRate(1)
    for n in range(1000):
        rate.is_too_many(f"{n}", float(n))
    assert len(rate._young) + len(rate._old) <= 2 * BURST_S + 2


def test_a_clock_that_is_set_back() -> None:
    rate = DeviceRate(1)
    rate.is_too_many("a", 1e9)
    assert not rate.is_too_many("b", 1.0)
