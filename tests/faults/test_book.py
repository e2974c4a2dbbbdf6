from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from trio_push.faults import SCENARIOS, Faults, Match, Rule, RuleRefused
from trio_push.faults.actions import (
    Action,
    Delay,
    Duplicate,
    Lose,
    MaxStreams,
    RefuseConnection,
    Status,
)
from trio_push.faults.active import Subject
from trio_push.faults.book import MAX_NAMES, MAX_RULES
from trio_push.faults.latency import Fixed

SHUTDOWN = Status(reason="Shutdown")
SLOWLY = Delay(latency=Fixed(1.0))


@pytest.fixture
def counted() -> Counter[str]:
    return Counter()


@pytest.fixture
def faults(counted: Counter[str]) -> Faults:
    return Faults("n1", lambda rule: counted.update([rule.name]))


def rule(action: Action, name: str = "", **match: Any) -> Rule:
    return Rule(name=name, match=Match(**match), action=action)


def test_without_rules_there_is_nobody_to_ask(faults: Faults) -> None:
    assert (faults.requests, faults.pushes, faults.devices, faults.connections) == (None,) * 4
    assert not faults.touches_routes


@pytest.mark.parametrize(
    ("action", "stage"),
    [
        (SHUTDOWN, "requests"),
        (SLOWLY, "requests"),
        (Lose(), "pushes"),
        (Duplicate(), "devices"),
        (RefuseConnection(), "connections"),
    ],
)
def test_a_rule_is_asked_where_it_belongs(faults: Faults, action: Action, stage: str) -> None:
    faults.add([rule(action, "r")], 0.0)
    for each in ("requests", "pushes", "devices", "connections"):
        assert (getattr(faults, each) is not None) is (each == stage)
    assert faults.touches_routes is (stage in ("pushes", "devices"))
    [fault] = getattr(faults, stage).judge(0.0)
    assert fault.action == action
    assert faults.remove("r")
    assert getattr(faults, stage) is None


def test_in_order_and_up_to_the_last(faults: Faults, counted: Counter[str]) -> None:
    faults.add(
        [
            rule(SLOWLY, "slow"),
            rule(MaxStreams(1), "streams"),
            rule(SHUTDOWN, "elsewhere", token_prefix="bb"),
            rule(SHUTDOWN, "here"),
            rule(SLOWLY, "too-late"),
        ],
        0.0,
    )
    assert faults.requests is not None
    happens = faults.requests.judge(0.0, Subject("aa"))
    assert [fault.action for fault in happens] == [SLOWLY, MaxStreams(1), SHUTDOWN]
    assert counted == {"slow": 1, "streams": 1, "here": 1}
    assert {active.rule.name: active.times for active in faults.active} == {
        "slow": 1,
        "streams": 1,
        "elsewhere": 0,
        "here": 1,
        "too-late": 0,
    }


def test_a_rule_for_another_node_is_there_and_does_nothing(faults: Faults) -> None:
    faults.add([rule(SHUTDOWN, "a", node="n2")], 0.0)
    assert faults.requests is None
    assert len(faults.active) == 1
    faults.add([rule(SHUTDOWN, "b", node="n1")], 0.0)
    assert faults.requests is not None


def test_time_begins_when_the_rule_is_added(faults: Faults) -> None:
    faults.add([rule(SHUTDOWN, after_s=5)], 1000.0)
    assert faults.requests is not None
    assert not faults.requests.judge(1004.0)
    assert faults.requests.judge(1005.0)


def test_a_rule_without_a_name_gets_one(faults: Faults) -> None:
    faults.add([rule(SHUTDOWN), rule(SLOWLY), rule(SHUTDOWN)], 0.0)
    faults.remove("status-1")
    faults.add([rule(SHUTDOWN)], 0.0)
    assert [active.rule.name for active in faults.active] == ["delay-1", "status-2", "status-3"]


def test_all_or_none(faults: Faults) -> None:
    faults.add([rule(SHUTDOWN, "a")], 0.0)
    for name in ("a", "b"):
        with pytest.raises(RuleRefused, match=f"named {name} already"):
            faults.add([rule(SHUTDOWN, "b"), rule(SHUTDOWN, name)], 0.0)
    assert [active.rule.name for active in faults.active] == ["a"]


def test_a_name_may_be_used_again(faults: Faults, counted: Counter[str]) -> None:
    for _ in range(2):
        faults.add([rule(SHUTDOWN, "a", first=1)], 0.0)
        assert faults.requests is not None
        assert len([*faults.requests.judge(0.0), *faults.requests.judge(0.0)]) == 1
        faults.remove("a")
    assert counted == {"a": 2}


def test_removing(faults: Faults) -> None:
    faults.add([rule(SHUTDOWN, "a"), rule(Lose(), "b")], 0.0)
    assert not faults.remove("c")
    assert faults.clear() == 2
    assert faults.clear() == 0
    assert faults.requests is None


def test_rules_and_their_names_are_bounded(faults: Faults) -> None:
    many = [rule(SHUTDOWN) for _ in range(MAX_RULES)]
    faults.add(many, 0.0)
    with pytest.raises(RuleRefused, match=str(MAX_RULES)):
        faults.add([rule(SHUTDOWN)], 0.0)
    for _ in range(MAX_NAMES // MAX_RULES - 1):
        faults.clear()
        faults.add(many, 0.0)
    faults.clear()
    with pytest.raises(RuleRefused, match=str(MAX_NAMES)):
        faults.add([rule(SHUTDOWN)], 0.0)
    faults.add([rule(SHUTDOWN, "status-7")], 0.0)


def test_all_scenarios_fit_in_together(faults: Faults) -> None:
    for scenario in SCENARIOS.values():
        faults.add(scenario.rules, 0.0)
    assert faults.touches_routes
