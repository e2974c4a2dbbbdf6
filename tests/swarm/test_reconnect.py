from __future__ import annotations

import pytest

from trio_push.swarm.reconnect import delay_s, is_healthy, scale_s


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (10**9, 30)],
)
def test_doubles_up_to_thirty_seconds(failures: int, expected: float) -> None:
    assert delay_s(failures, 0.0) == expected


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_jitter_is_up_to_half_of_it(jitter: float, expected: float) -> None:
    assert delay_s(2, jitter) == expected


def test_what_the_server_asks_for_is_the_least() -> None:
    assert delay_s(0, 0.5, at_least_s=20) == 20
    assert delay_s(5, 0.5, at_least_s=20) == 37.5


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 0), (1, 1), (2, 2), (3, 5), (4, 10), (5, 30), (6, 30)]
)
def test_the_other_schedule_waits_a_random_part(failures: int, longest: float) -> None:
    waits = [delay_s(failures, jitter, schedule=scale_s) for jitter in (0.0, 0.5, 1.0)]
    assert waits == [0, longest / 2, longest]
    assert delay_s(failures, 0.0, at_least_s=3, schedule=scale_s) == 3


@pytest.mark.parametrize(
    ("lived_s", "events", "healthy"),
    [(0.1, 0, False), (29.9, 0, False), (30.0, 0, True), (0.1, 1, True)],
)
def test_is_healthy(lived_s: float, events: int, healthy: bool) -> None:
    assert is_healthy(lived_s, events) is healthy
