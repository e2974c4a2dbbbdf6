"""The limit of delayed delivery: pushes as tuples in a heap, and a sleeping task for each due soon.

Run as `python -m loadtest.bare.timers HELD DUE SPREAD_S`. Says `holding` when HELD tuples are
there, waits for a line on standard input, lets DUE tasks wake over SPREAD_S seconds and says
`fired` with how late each was.
"""

from __future__ import annotations

import gc
import heapq
import json
import sys
import time
import uuid

import trio

_FAR_S = 6 * 3600


def _push(number: int) -> tuple[float, str, str, bytes]:
    """What must be kept of a push at the least: when, its id, for whom, and what."""
    return (time.time() + _FAR_S, str(uuid.uuid4()), f"{number:064x}", b'{"held": %d}' % number)


async def _fire(due_s: float, lateness_s: list[float]) -> None:
    await trio.sleep_until(due_s)
    lateness_s.append(trio.current_time() - due_s)


async def main(held: int, due: int, spread_s: float) -> None:
    print(json.dumps({"event": "empty"}), flush=True)
    sys.stdin.readline()
    heap: list[tuple[float, str, str, bytes]] = []
    for number in range(held):
        heapq.heappush(heap, _push(number))
    gc.collect()
    gc.freeze()
    print(json.dumps({"event": "holding"}), flush=True)
    sys.stdin.readline()
    lateness_s: list[float] = []
    start_s = trio.current_time() + 1
    async with trio.open_nursery() as nursery:
        for number in range(due):
            nursery.start_soon(_fire, start_s + spread_s * number / due, lateness_s)
    print(json.dumps({"event": "fired", "lateness_s": lateness_s}), flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
