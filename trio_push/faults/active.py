"""A rule at work: whether it fits now, and how often it has.

Used by the book alone. `now` is any clock that runs evenly, in seconds, the same in every call.
"""

from __future__ import annotations

from typing import NamedTuple

from trio_push.faults.dice import Dice
from trio_push.faults.rules import Match, Rule


class Subject(NamedTuple):
    """What a fault may befall."""

    token: str = ""
    topic: str = ""
    is_http2: bool = True


class ActiveRule:
    """One rule since it was added."""

    __slots__ = ("_allowance", "_allowed_at", "_dice", "_tokens", "added_at", "rule", "times")

    def __init__(self, rule: Rule, now: float) -> None:
        self.rule = rule
        self.added_at = now
        #: how often it has been applied
        self.times = 0
        self._dice = Dice(rule.seed, rule.name)
        tokens = rule.match.tokens
        self._tokens = None if tokens is None else frozenset(map(str.lower, tokens))
        #: of the rate: a token bucket that holds one second's worth
        self._allowance = max(1.0, rule.match.rate or 0.0)
        self._allowed_at = now

    def fits(self, subject: Subject, now: float) -> bool:
        """Whether the rule is to be applied now; if so, it counts as done.

        What it costs least to ask comes first, chance and limits last: they count only those
        for whom all else fits.
        """
        match = self.rule.match
        if self.rule.action.http2_only and not subject.is_http2:
            return False
        if not self._is_time(match, now) or not self._is_for(match, subject):
            return False
        if match.first is not None and self.times >= match.first:
            return False
        if match.share is not None and self._dice.roll() >= match.share:
            return False
        if match.rate is not None and not self._allows(match.rate, now):
            return False
        self.times += 1
        return True

    def roll(self) -> float:
        """A number in [0, 1) for what the action leaves to chance."""
        return self._dice.roll()

    def _is_time(self, match: Match, now: float) -> bool:
        since = now - self.added_at - match.after_s
        if since < 0 or match.for_s is None:
            return since >= 0
        if match.every_s is not None:
            since %= match.every_s
        return since < match.for_s

    def _is_for(self, match: Match, subject: Subject) -> bool:
        token = subject.token
        if match.token_prefix is not None and not token.startswith(match.token_prefix.lower()):
            return False
        if self._tokens is not None and token not in self._tokens:
            return False
        if match.topic is not None and subject.topic != match.topic:
            return False
        return match.token_share is None or self._dice.of(token) < match.token_share

    def _allows(self, rate: float, now: float) -> bool:
        refill = (now - self._allowed_at) * rate
        self._allowance = min(max(1.0, rate), self._allowance + refill)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
