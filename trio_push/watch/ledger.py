"""The books: every accepted push is in exactly one state, and the counts balance.

Each step of a push writes one line here. Pure counting, no I/O, cheap enough for every push.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableSequence
from typing import Any

from trio_push.push import State

_RESTORED, _TAKEN_OVER, _REPEATED = range(3)
_OPEN = [state for state in State if state.is_open]


class Ledger:
    """Counts of one node since it started.

    `accepted + restored + taken_over + repeated = ended + open` holds at every moment because a
    push only ever enters and moves.
    Whether the open counts are true is shown by comparing them with what really lies in the
    rooms: see `snapshot`.
    """

    __slots__ = ("accepted", "counts", "faults", "origins", "refused")

    def __init__(
        self,
        counts: MutableSequence[int] | None = None,
        origins: MutableSequence[int] | None = None,
    ) -> None:
        """Count in `counts` and `origins`, where others may read it too."""
        self.accepted = 0
        #: pushes now in (open) or ended in each state, by State
        self.counts = [0] * len(State) if counts is None else counts
        #: pushes that were not accepted here: restored, taken over, and repeated
        self.origins = [0, 0, 0] if origins is None else origins
        #: refused requests by reason; they were never accepted and are not in the balance
        self.refused: Counter[str] = Counter()
        #: faults on demand, by the name of the rule and the kind of its action; beside the balance
        self.faults: Counter[tuple[str, str]] = Counter()

    @property
    def restored(self) -> int:
        """Pushes that an earlier run of the server had accepted and left in a durable store."""
        return self.origins[_RESTORED]

    @property
    def taken_over(self) -> int:
        """Pushes that another node had accepted, and handed over."""
        return self.origins[_TAKEN_OVER]

    @property
    def repeated(self) -> int:
        """Pushes that were ended here although another node had taken them over."""
        return self.origins[_REPEATED]

    def enter(self, state: State, n: int = 1) -> None:
        """Accept `n` pushes straight into `state`."""
        self.accepted += n
        self.counts[state] += n

    def restore(self, state: State) -> None:
        """Take over a push in the open state that an earlier run left it in."""
        self.origins[_RESTORED] += 1
        self.counts[state] += 1

    def take_over(self, state: State, n: int = 1) -> None:
        """Take over `n` pushes that another node handed over, straight into `state`."""
        self.origins[_TAKEN_OVER] += n
        self.counts[state] += n

    def give_back(self, state: State) -> None:
        """A push that was taken over into `state` stays where it was taken from."""
        self.origins[_TAKEN_OVER] -= 1
        self.counts[state] -= 1

    def repeat(self, n: int) -> None:
        """Another node has taken over `n` pushes that were ended here: each ends there, too.

        One was had here and is handed over, the other is what was done here once more.
        """
        self.origins[_REPEATED] += n
        self.counts[State.HANDED_OVER] += n

    def move(self, source: State, target: State, n: int = 1) -> None:
        """Move `n` pushes from the open state `source` to `target`."""
        self.counts[source] -= n
        self.counts[target] += n

    def refuse(self, reason: str) -> None:
        self.refused[reason] += 1

    def befall(self, rule: str, action: str) -> None:
        """A fault on demand was applied. What became of a push by it stands in the balance."""
        self.faults[rule, action] += 1

    def snapshot(self, held: Mapping[State, int]) -> dict[str, Any]:
        """The books as `/v1/ledger` shows them.

        `held` is what was counted in the rooms themselves, for each open state: the books are
        balanced when they agree with it and nothing is missing.
        """
        counts = self.counts
        open_ = {state.name.lower(): counts[state] for state in _OPEN}
        ended: dict[str, Any] = {
            "delivered": counts[State.DELIVERED_LIVE] + counts[State.DELIVERED_ON_CONNECT],
            "delivered_live": counts[State.DELIVERED_LIVE],
            "delivered_on_connect": counts[State.DELIVERED_ON_CONNECT],
        }
        for state in State:
            if not state.is_open and state.outcome != "delivered" and state.reason is None:
                ended[state.outcome] = counts[state]
        dropped = {state.reason: counts[state] for state in State if state.reason is not None}
        ended["dropped"] = sum(dropped.values())
        total = sum(counts)
        return {
            "accepted": self.accepted,
            "restored": self.restored,
            "taken_over": self.taken_over,
            "repeated": self.repeated,
            "open": open_,
            "ended": ended,
            "dropped": dropped,
            "refused": dict(self.refused),
            "faults": [
                {"rule": rule, "action": action, "times": times}
                for (rule, action), times in self.faults.items()
            ],
            "balanced": self.accepted + sum(self.origins) == total
            and all(counts[s] == held[s] for s in _OPEN),
        }
