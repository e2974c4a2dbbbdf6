from __future__ import annotations

from trio_push.apns.backoff import Backoff


def test_doubles_to_its_limit_with_jitter_on_top() -> None:
    backoff = Backoff(1.0, 10.0, 0.5)
    now, pauses = 0.0, []
    for _ in range(6):
        backoff.fail(now, 0.5)
        pauses.append(backoff.ready_at - now)
        now = backoff.ready_at
    assert pauses == [1.25, 2.5, 5.0, 10.0, 12.5, 12.5]


def test_those_begun_together_count_once() -> None:
    backoff = Backoff(1.0, 10.0, 0.0)
    for _ in range(5):
        backoff.fail(3.0, 0.9)
    assert (backoff.failures, backoff.ready_at) == (1, 4.0)


def test_starts_over_after_a_success() -> None:
    backoff = Backoff(1.0, 10.0, 0.0)
    backoff.fail(0.0, 0.0)
    backoff.fail(1.0, 0.0)
    backoff.succeed()
    assert backoff.ready_at < 0
    backoff.fail(5.0, 0.0)
    assert backoff.ready_at == 6.0


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(1.0, 10.0, 0.0)
    for n in range(2000):
        backoff.fail(n * 100.0, 0.0)
    assert backoff.ready_at == 1999 * 100 + 10
