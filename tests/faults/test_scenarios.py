from __future__ import annotations

import msgspec

from trio_push.config import SCENARIO_NAMES
from trio_push.faults import SCENARIOS, Rule

ISSUED = {"apple-shutdown", "token-churn", "throttled", "flaky-network", "goaway-storm"}


def test_those_that_ship() -> None:
    assert SCENARIOS.keys() == ISSUED | {"magic-tokens"}
    assert tuple(SCENARIOS) == SCENARIO_NAMES
    assert all(scenario.meaning and scenario.rules for scenario in SCENARIOS.values())


def test_their_rules_are_such_as_anybody_could_write() -> None:
    names = []
    for scenario in SCENARIOS.values():
        for rule in scenario.rules:
            # what is built in code is not checked, so it is decoded once more
            assert msgspec.json.decode(msgspec.json.encode(rule), type=Rule) == rule
            names.append(rule.name)
    assert all(names)
    assert len(names) == len(set(names))
