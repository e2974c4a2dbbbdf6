from __future__ import annotations

import pytest

from trio_push.faults.dice import Dice
from trio_push.faults.latency import Fixed, LogNormal, Uniform


@pytest.mark.parametrize(
    ("law", "chance", "seconds"),
    [
        (Fixed(0.25), 0.0, 0.25),
        (Fixed(0.25), 0.9, 0.25),
        (Uniform(1.0, 3.0), 0.0, 1.0),
        (Uniform(1.0, 3.0), 0.5, 2.0),
        (Uniform(2.0, 2.0), 0.5, 2.0),
        (LogNormal(0.05, 0.5), 0.5, 0.05),
        (LogNormal(0.05, 0.5), 0.99, 0.5),
        (LogNormal(0.05, 0.05), 0.99, 0.05),
    ],
)
def test_sample(law: Fixed | Uniform | LogNormal, chance: float, seconds: float) -> None:
    assert law.sample_s(chance) == pytest.approx(seconds)


def test_log_normal_is_positive_and_ends_somewhere() -> None:
    law = LogNormal(0.05, 0.5)
    assert 0 < law.sample_s(0.0) < law.sample_s(1.0) < 10


def test_log_normal_as_it_comes() -> None:
    dice, law = Dice(1, "x"), LogNormal(0.05, 0.5)
    samples = sorted(law.sample_s(dice.roll()) for _ in range(2000))
    assert samples[1000] == pytest.approx(0.05, rel=0.15)
    assert samples[1980] == pytest.approx(0.5, rel=0.4)
