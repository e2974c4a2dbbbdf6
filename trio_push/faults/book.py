"""The book of rules of one node: which there are, what befalls whom, and how often it did.

Asked by intake for requests, by the router for pushes and devices, by the front door for
connections. Each asks its own `Bench`, which is None while no rule is for it: that is all that
faults cost where there are none. Pure: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from trio_push.errors import PushError
from trio_push.faults.actions import Action, Stage
from trio_push.faults.active import ActiveRule, Subject
from trio_push.faults.latency import Latency
from trio_push.faults.rules import Rule

#: rules at a time: each is asked about every push
MAX_RULES: Final = 100
#: names in the life of a node: each stays in the metrics, or its counter would run backwards
MAX_NAMES: Final = 1000


class RuleRefused(PushError):
    """A rule cannot be added as it stands; the message says why."""


class Fault(NamedTuple):
    """A rule that fits: what it does, and a number in [0, 1) for what it leaves to chance."""

    action: Action
    chance: float

    def sample_s(self, latency: Latency) -> float:
        """How long it is to take, in seconds."""
        return latency.sample_s(self.chance)


class Bench:
    """The rules of one stage, in the order in which they were added."""

    def __init__(self, rules: Sequence[ActiveRule], count: Callable[[Rule], None]) -> None:
        self._rules = rules
        self._count = count

    def judge(self, now: float, subject: Subject = Subject()) -> list[Fault]:  # noqa: B008
        """What befalls `subject`: all that fit, up to the first after which nothing is left."""
        faults = []
        for active in self._rules:
            if active.fits(subject, now):
                self._count(active.rule)
                action = active.rule.action
                faults.append(Fault(action, active.roll()))
                if action.is_last:
                    break
        return faults


class Faults:
    """The rules of one node; `count` is told each time that one is applied."""

    def __init__(self, node: str, count: Callable[[Rule], None]) -> None:
        self._node = node
        self._count = count
        self._active: dict[str, ActiveRule] = {}
        self._names: set[str] = set()
        #: what to ask about requests, pushes, devices, connections; None: no rule is for them
        self.requests: Bench | None = None
        self.pushes: Bench | None = None
        self.devices: Bench | None = None
        self.connections: Bench | None = None

    @property
    def active(self) -> list[ActiveRule]:
        """The rules there are, in the order in which they were added."""
        return list(self._active.values())

    @property
    def touches_routes(self) -> bool:
        """Whether what is accepted may not go its usual way."""
        return self.pushes is not None or self.devices is not None

    def add(self, rules: Iterable[Rule], now: float) -> list[ActiveRule]:
        """Add rules behind the others; all of them, or none and RuleRefused."""
        return [self.put(rule, now) for rule in self.named(rules)]

    def named(self, rules: Iterable[Rule]) -> list[Rule]:
        """Rules as they could be added together, each with a name; or RuleRefused."""
        named: dict[str, Rule] = {}
        for rule in rules:
            rule = _named(rule, named.keys() | self._names)
            if rule.name in self._active or rule.name in named:
                raise RuleRefused(f"there is a rule named {rule.name} already")
            named[rule.name] = rule
        if len(self._active) + len(named) > MAX_RULES:
            raise RuleRefused(f"a node has {MAX_RULES} rules at most: remove others first")
        if len(self._names | named.keys()) > MAX_NAMES:
            raise RuleRefused(f"{MAX_NAMES} rules have had a name of their own: use one again")
        return list(named.values())

    def put(self, rule: Rule, added_at: float) -> ActiveRule:
        """Have a rule, behind the others, which was added then; its name is free."""
        active = self._active[rule.name] = ActiveRule(rule, added_at)
        self._names.add(rule.name)
        self._seat()
        return active

    def remove(self, name: str) -> bool:
        """Remove a rule; False when there is none of this name."""
        removed = self._active.pop(name, None)
        self._seat()
        return removed is not None

    def clear(self) -> int:
        """Remove every rule; returns how many there were."""
        removed = len(self._active)
        self._active.clear()
        self._seat()
        return removed

    def _seat(self) -> None:
        """Give each stage the rules that are for it."""
        here = [a for a in self.active if a.rule.match.node in (None, self._node)]
        benches = {
            stage: Bench(rules, self._count)
            for stage in Stage
            if (rules := [a for a in here if a.rule.action.stage is stage])
        }
        self.requests = benches.get(Stage.REQUEST)
        self.pushes = benches.get(Stage.PUSH)
        self.devices = benches.get(Stage.DEVICE)
        self.connections = benches.get(Stage.CONNECTION)


def _named(rule: Rule, taken: Collection[str]) -> Rule:
    if rule.name:
        return rule
    number = 1
    while f"{rule.action.kind}-{number}" in taken:
        number += 1
    return msgspec.structs.replace(rule, name=f"{rule.action.kind}-{number}")
