"""Faults on demand: which, for whom and when, decided without any I/O.

`Faults` is a node's book of rules. What befalls a request is carried out by `intake.faults`, what
befalls a push or a device by `router.faults`, and a connection by the front door.
"""

from trio_push.faults.book import Faults, RuleRefused
from trio_push.faults.rules import Match, Rule
from trio_push.faults.scenarios import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Faults", "Match", "Rule", "RuleRefused", "Scenario"]
