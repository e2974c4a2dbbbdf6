"""The order of measuring, and who is left out."""

from __future__ import annotations

import pytest

from loadtest.bench import Plan, Subject, interleaved
from loadtest.child import Failed


@pytest.fixture
def order():
    return []


@pytest.fixture
def subjects(order):
    def subject(name, missing=None):
        async def sample():
            order.append(name)
            return {"turn": float(len(order))}

        return Subject(name, sample, missing)

    return [subject("ours"), subject("bare h2"), subject("nginx", "apt install nginx")]


async def test_every_round_measures_every_subject_once(subjects, order):
    measured = await interleaved(subjects, Plan(2))
    assert order == ["ours", "bare h2", "ours", "bare h2"]
    assert measured.samples == {
        "ours": [{"turn": 1.0}, {"turn": 3.0}],
        "bare h2": [{"turn": 2.0}, {"turn": 4.0}],
    }


async def test_what_is_missing_is_skipped_with_the_command_that_installs_it(subjects):
    measured = await interleaved(subjects, Plan(1))
    assert measured.skipped == {"nginx": "needs apt install nginx"}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ((), ["ours", "bare h2"]),
        (("bare",), ["bare h2"]),
        (("bare", "our"), ["ours", "bare h2"]),
    ],
)
async def test_only_some(subjects, order, only, expected):
    measured = await interleaved(subjects, Plan(1, only))
    assert order == expected
    assert measured.skipped == {} or not only


async def test_somebody_is_to_be_measured(subjects):
    with pytest.raises(Failed, match="ours, bare h2, nginx"):
        await interleaved(subjects, Plan(1, ("none",)))
