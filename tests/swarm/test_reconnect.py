from __future__ import annotations

import pytest

from trio_push.swarm.reconnect import delay_s, is_healthy


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
    ("lived_s", "events", "healthy"),
    [(0.1, 0, False), (29.9, 0, False), (30.0, 0, True), (0.1, 1, True)],
)
def test_is_healthy(lived_s: float, events: int, healthy: bool) -> None:
    assert is_healthy(lived_s, events) is healthy
