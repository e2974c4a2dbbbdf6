"""How often a node asks what is shared: as often as it has something to ask, while that is cheap.

What gathers while one round is under way goes out with the next, so that batches grow with load.
But where many nodes share a machine or a Redis, each has little to ask at a time and asks often,
until most of the work is the asking. Answers then take longer; and the longer they take, and the
more nodes wait for them, the longer a node rests between two rounds. Called by each part of the
engine that works in rounds.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import trio

from trio_push.engine.contract import Shared
from trio_push.engine.members import Members

#: lengths of a rest, each of which divides the next; the longest is what a push may wait for
#: company at each end of its way
BEATS_S: Final = tuple(0.000_8 * 2**n for n in range(8))


async def rest(shared: Shared, members: Members) -> None:
    """Between two rounds: for as long as each node in turn is given an answer.

    Or longer, so that all parts of a node begin their rounds together: waking up is what costs.
    """
    pause_s = shared.answer_s * len(members.living)
    beat_s = BEATS_S[bisect_left(BEATS_S, pause_s, hi=len(BEATS_S) - 1)]
    await trio.sleep_until((trio.current_time() // beat_s + 1) * beat_s)
