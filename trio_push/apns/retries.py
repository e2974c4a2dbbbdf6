"""Which attempts are made again, and when. Pure.

Asked by the client about every attempt that was not accepted. A permanent refusal is never
tried again, whatever an evaluator says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trio_push.apns.flight import Fate
from trio_push.apns.request import Outcome

#: statuses that say something of the moment and not of the push
_TRANSIENT: Final = frozenset((408, 429))
#: the one 4xx that another attempt mends: the client makes a new provider token for it
EXPIRED_PROVIDER_TOKEN: Final = "ExpiredProviderToken"
#: how often a push is sent again that the host did not look at. A host that lowers its limit
#: refuses what is in flight, perhaps over and over, so this is more than for real refusals
UNSENT_RETRIES: Final = 20
#: the second such attempt waits this long, and each further one twice as long
_UNSENT_FIRST_S: Final = 0.05
_UNSENT_LONGEST_S: Final = 2.0

#: says of an attempt whether it is worth another
Evaluator = Callable[[Fate], bool]


def is_permanent(fate: Fate) -> bool:
    """Whether another attempt would be refused as well."""
    return (
        fate.outcome is Outcome.REFUSED
        and fate.status < 500
        and fate.status not in _TRANSIENT
        and fate.reason != EXPIRED_PROVIDER_TOKEN
    )


def is_safe(fate: Fate) -> bool:
    """The evaluator by default: all but what may have been taken by the host.

    An unanswered push sent again may reach its device twice.
    """
    return fate.outcome is not Outcome.UNANSWERED


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """A refusal is tried again `most` times, after a delay that doubles from `first_s`.

    A Retry-After is the least. Whatever `most` is, sent again is also what the host did not look
    at, and once what came with an expired provider token: the next one is new. Apple asks for 15
    minutes after a 5xx: a provider in service sets `first_s` accordingly.
    """

    most: int = 3
    first_s: float = 1.0
    longest_s: float = 15 * 60.0
    evaluate: Evaluator = is_safe

    def delay_s(self, fate: Fate, attempts: int, chance: float) -> float | None:
        """How long to wait before the next attempt after so many; None: there is none.

        `chance` is in [0, 1): half of a delay is random, so that what failed together does not
        come back together.
        """
        if is_permanent(fate) or not self.evaluate(fate):
            return None
        if fate.outcome is Outcome.UNSENT:
            if attempts > UNSENT_RETRIES:
                return None
            if attempts == 1:
                return 0.0
            return _pause_s(_UNSENT_FIRST_S, attempts - 2, _UNSENT_LONGEST_S, chance)
        if fate.reason == EXPIRED_PROVIDER_TOKEN and attempts == 1:
            # it was not the push that was refused
            return 0.0
        if attempts > self.most:
            return None
        delay_s = _pause_s(self.first_s, attempts - 1, self.longest_s, chance)
        return max(delay_s, fate.retry_after_s or 0.0)


def _pause_s(first_s: float, doublings: int, longest_s: float, chance: float) -> float:
    # beyond 64 the float would overflow before the limit is applied
    return min(first_s * 2.0 ** min(doublings, 64), longest_s) * (0.5 + chance / 2)
