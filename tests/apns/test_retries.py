from __future__ import annotations

import pytest

from trio_push.apns.flight import Fate, Flight
from trio_push.apns.request import Outcome, Request
from trio_push.apns.retries import Retries

FLIGHT = Flight(Request(token="ab", payload=b"{}"))


def refused(status: int, reason: str = "", retry_after_s: float | None = None) -> Fate:
    return Fate(FLIGHT, Outcome.REFUSED, status, reason, retry_after_s=retry_after_s)


UNSENT = Fate(FLIGHT, Outcome.UNSENT)
UNANSWERED = Fate(FLIGHT, Outcome.UNANSWERED)


@pytest.mark.parametrize(
    ("fate", "attempts", "delay_s"),
    [
        (refused(429), 1, 1.0),
        (refused(429), 2, 2.0),
        (refused(503, "Shutdown"), 3, 4.0),
        (refused(503, "Shutdown"), 4, None),
        (refused(408), 1, 1.0),
        (refused(500), 1, 1.0),
        (refused(429, retry_after_s=30), 1, 30.0),
        (refused(429, retry_after_s=0), 1, 1.0),
        (refused(403, "ExpiredProviderToken"), 1, 0.0),
        (refused(403, "ExpiredProviderToken"), 2, 2.0),
        (refused(403, "InvalidProviderToken"), 1, None),
        (refused(400, "BadDeviceToken"), 1, None),
        (refused(404, "BadPath"), 1, None),
        (refused(410, "Unregistered"), 1, None),
        (refused(413, "PayloadTooLarge"), 1, None),
        (UNSENT, 1, 0.0),
        (UNSENT, 2, 0.05),
        (UNSENT, 4, 0.2),
        (UNSENT, 20, 2.0),
        (UNSENT, 21, None),
        (UNANSWERED, 1, None),
    ],
)
def test_delays(fate: Fate, attempts: int, delay_s: float | None) -> None:
    assert Retries().delay_s(fate, attempts, 1.0) == delay_s


def test_half_of_a_delay_is_random() -> None:
    assert Retries(first_s=8).delay_s(refused(503), 1, 0.0) == 4.0
    assert Retries(first_s=8).delay_s(refused(503), 1, 0.5) == 6.0


def test_delays_have_a_limit() -> None:
    retries = Retries(most=2000, first_s=1, longest_s=60)
    assert retries.delay_s(refused(503), 1500, 1.0) == 60


def test_an_evaluator_decides_but_not_about_what_is_permanent() -> None:
    everything = Retries(evaluate=lambda fate: True)
    assert everything.delay_s(UNANSWERED, 1, 1.0) == 1.0
    assert everything.delay_s(refused(410, "Unregistered"), 1, 1.0) is None
    nothing = Retries(evaluate=lambda fate: False)
    assert nothing.delay_s(refused(503), 1, 1.0) is None


def test_no_retries() -> None:
    assert Retries(most=0).delay_s(refused(503), 1, 1.0) is None
    assert Retries(most=0).delay_s(UNSENT, 1, 1.0) == 0.0
    expired = refused(403, "ExpiredProviderToken")
    assert Retries(most=0).delay_s(expired, 1, 1.0) == 0.0
    assert Retries(most=0).delay_s(expired, 2, 1.0) is None
    assert Retries(evaluate=lambda fate: False).delay_s(UNSENT, 1, 1.0) is None
