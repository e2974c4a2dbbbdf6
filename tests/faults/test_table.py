from __future__ import annotations

from typing import Any

import pytest

from trio_push.errors import ConfigError
from trio_push.faults.actions import Delay, Hold, Lose, Status
from trio_push.faults.latency import Uniform
from trio_push.faults.rules import Match, Rule
from trio_push.faults.table import rules_of

LOSE = {"kind": "lose"}


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"action": LOSE}, Rule(action=Lose())),
        ({"name": "a", "seed": 3, "action": LOSE}, Rule(name="a", seed=3, action=Lose())),
        ({"action": {"kind": "hold", "for_s": 2}}, Rule(action=Hold(for_s=2.0))),
        (
            {"action": {"kind": "status", "reason": "Unregistered", "status": 410}},
            Rule(action=Status(reason="Unregistered", status=410)),
        ),
        (
            {
                "match": {"share": 0.5, "tokens": ["AA", "bb"], "topic": "t", "first": 3},
                "action": {
                    "kind": "delay",
                    "latency": {"law": "uniform", "low_s": 0, "high_s": 0.5},
                },
            },
            Rule(
                match=Match(share=0.5, tokens=frozenset({"AA", "bb"}), topic="t", first=3),
                action=Delay(latency=Uniform(0.0, 0.5)),
            ),
        ),
    ],
)
def test_rules(table: dict[str, Any], rule: Rule) -> None:
    assert rules_of({"rules": [table]}) == [rule]


def test_none() -> None:
    assert rules_of({}) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"rule": []}, "unknown field `rule`"),
        ({"rules": [{}]}, "missing required field `action` - at `$.rules[0]`"),
        ({"rules": [{"action": {}}]}, "`kind`"),
        ({"rules": [{"action": {"kind": "explode"}}]}, "'explode'"),
        ({"rules": [{"action": LOSE | {"x": 1}}]}, "unknown field `x`"),
        ({"rules": [{"action": LOSE, "name": "a b"}]}, "`$.rules[0].name`"),
        ({"rules": [{"action": LOSE, "match": {"share": 0}}]}, "`$.rules[0].match.share`"),
        ({"rules": [{"action": LOSE, "match": {"share": 1.1}}]}, "match.share"),
        ({"rules": [{"action": LOSE, "match": {"token_prefix": "xy"}}]}, "match.token_prefix"),
        ({"rules": [{"action": LOSE, "match": {"tokens": []}}]}, "match.tokens"),
        ({"rules": [{"action": LOSE, "match": {"every_s": 5}}]}, "every_s needs a for_s"),
        ({"rules": [{"action": LOSE, "match": {"every_s": 5, "for_s": 6}}]}, "every_s needs"),
        ({"rules": [{"action": {"kind": "status", "reason": "X"}}]}, "no status of its own"),
        ({"rules": [{"action": {"kind": "status", "reason": "X", "status": 200}}]}, ".status"),
        ({"rules": [{"action": {"kind": "status", "reason": "X", "status": 599}}]}, "no status"),
        ({"rules": [{"action": {"kind": "reset_stream", "code": "OOPS"}}]}, "OOPS"),
        (
            {
                "rules": [
                    {
                        "action": {
                            "kind": "delay",
                            "latency": {"law": "uniform", "low_s": 2, "high_s": 1},
                        }
                    }
                ]
            },
            "low_s is above high_s",
        ),
        (
            {
                "rules": [
                    {
                        "action": {
                            "kind": "delay",
                            "latency": {"law": "log-normal", "median_s": 2, "p99_s": 1},
                        }
                    }
                ]
            },
            "median_s is above p99_s",
        ),
        (
            {"rules": [{"action": {"kind": "refuse_connection"}, "match": {"topic": "t"}}]},
            "a connection has no token and no topic yet",
        ),
    ],
)
def test_what_makes_no_sense(content: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        rules_of(content)
    assert complaint in str(raised.value)
