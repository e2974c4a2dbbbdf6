"""How often a node asks what is shared: as often as it has something to ask, while that is cheap.

What gathers while one round is under way goes out with the next, so that batches grow with load.
But when many nodes share a machine or a Redis, each has little to ask at a time, and asks often,
until most of the work is the asking. Answers then take longer; and the longer they take, the
longer a node rests between two rounds. Called by each part of the engine that works in rounds.
"""

from __future__ import annotations

from typing import Final

import trio

from trio_push.engine.contract import Shared

#: rest after a round, in times that an answer takes
ANSWERS: Final = 4.0
#: the longest rest; what a push may wait for company, at each end of its way
LONGEST_S: Final = 0.05


async def rest(shared: Shared) -> None:
    """Between two rounds. Always a checkpoint."""
    await trio.sleep(min(ANSWERS * shared.answer_s, LONGEST_S))
