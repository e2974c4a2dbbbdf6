from __future__ import annotations

from typing import Any

import pytest

from trio_push.faults.actions import Action, Lose, ResetStream
from trio_push.faults.active import ActiveRule, Subject
from trio_push.faults.rules import Match, Rule


def active(action: Action = Lose(), *, seed: int = 0, **match: Any) -> ActiveRule:  # noqa: B008
    return ActiveRule(Rule(name="r", match=Match(**match), action=action, seed=seed), 100.0)


@pytest.mark.parametrize(
    ("match", "subject", "fits"),
    [
        ({}, Subject(), True),
        ({}, Subject("aa", "t"), True),
        ({"token_prefix": "ab"}, Subject("abcd"), True),
        ({"token_prefix": "AB"}, Subject("abcd"), True),
        ({"token_prefix": "ab"}, Subject("acbd"), False),
        ({"tokens": frozenset({"AA", "bb"})}, Subject("aa"), True),
        ({"tokens": frozenset({"AA", "bb"})}, Subject("cc"), False),
        ({"topic": "t"}, Subject("aa", "t"), True),
        ({"topic": "t"}, Subject("aa", "tt"), False),
        ({"topic": ""}, Subject("aa"), True),
        ({"topic": "t", "token_prefix": "ab"}, Subject("aa", "t"), False),
    ],
)
def test_for_whom(match: dict[str, Any], subject: Subject, fits: bool) -> None:
    rule = active(**match)
    assert rule.fits(subject, 100.0) is fits
    assert rule.times == fits


#: seconds since the rule was added at which it is looked at
MOMENTS = (0, 1, 1.5, 2, 2.5, 3, 4.5, 5, 11, 12, 13, 21)


@pytest.mark.parametrize(
    ("match", "fitting"),
    [
        ({}, [*MOMENTS]),
        ({"after_s": 2}, [2, 2.5, 3, 4.5, 5, 11, 12, 13, 21]),
        ({"for_s": 2}, [0, 1, 1.5]),
        ({"after_s": 2, "for_s": 3}, [2, 2.5, 3, 4.5]),
        ({"after_s": 1, "for_s": 2, "every_s": 10}, [1, 1.5, 2, 2.5, 11, 12, 21]),
    ],
)
def test_when(match: dict[str, Any], fitting: list[float]) -> None:
    rule = active(**match)
    assert [m for m in MOMENTS if rule.fits(Subject(), 100.0 + m)] == fitting


def test_the_first_ones() -> None:
    rule = active(first=2, token_prefix="aa")
    tokens = ["bb", "aa", "aa", "bb", "aa"]
    assert [rule.fits(Subject(token), 100.0) for token in tokens] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert rule.times == 2


def test_the_rate() -> None:
    rule = active(rate=2)
    assert [rule.fits(Subject(), 100.0) for _ in range(3)] == [True, True, False]
    assert [rule.fits(Subject(), 100.5) for _ in range(2)] == [True, False]
    assert [rule.fits(Subject(), 200.0) for _ in range(3)] == [True, True, False]


def test_a_rate_below_one_a_second() -> None:
    rule = active(rate=0.5)
    moments = [100.0, 101.0, 102.0, 103.0, 104.0]
    assert [rule.fits(Subject(), m) for m in moments] == [True, False, True, False, True]


def test_the_share_is_by_chance_and_the_same_for_a_seed() -> None:
    def chosen(seed: int) -> list[bool]:
        rule = active(share=0.25, seed=seed)
        return [rule.fits(Subject("aa"), 100.0) for _ in range(2000)]

    assert 400 < sum(chosen(1)) < 600
    assert chosen(1) == chosen(1) != chosen(2)


def test_a_share_of_tokens_is_always_the_same_ones() -> None:
    rule = active(token_share=0.25)
    tokens = [f"{n:08x}" for n in range(2000)]
    chosen = [token for token in tokens if rule.fits(Subject(token), 100.0)]
    assert 400 < len(chosen) < 600
    assert chosen == [token for token in tokens if rule.fits(Subject(token), 100.0)]


def test_what_only_http2_has() -> None:
    rule = active(ResetStream())
    assert not rule.fits(Subject(is_http2=False), 100.0)
    assert rule.fits(Subject(), 100.0)


def test_chance_and_limits_count_only_those_for_whom_all_else_fits() -> None:
    rule = active(share=0.5, rate=1000, first=3, token_prefix="aa")
    other = active(share=0.5, rate=1000, first=3, token_prefix="aa")
    mixed = [rule.fits(Subject(t), 100.0) for _ in range(20) for t in ("bb", "aa")][1::2]
    assert mixed == [other.fits(Subject("aa"), 100.0) for _ in range(20)]
