from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_push.swarm.histogram import Histogram
from trio_push.swarm.lag import INTERVAL_S, watch_lag


async def test_a_loop_that_was_held_up(autojump_clock: trio.testing.MockClock) -> None:
    lag = Histogram()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_lag, lag)
        await trio.sleep(10.5 * INTERVAL_S)
        assert (lag.count, lag.max_s) == (10, 0)
        autojump_clock.jump(2.0)
        await trio.testing.wait_all_tasks_blocked()
        assert lag.max_s == pytest.approx(2.0, abs=INTERVAL_S)
        nursery.cancel_scope.cancel()
