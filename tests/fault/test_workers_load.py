"""Workers are killed, replaced and stopped under load: what got its 200 and may be kept arrives."""

from __future__ import annotations

import os
import random
import signal

import pytest
import trio

from tests.fault.load import CALM_S, IN_HAND, agree, loaded
from tests.workers.running import crew_of
from trio_push.engine.members import LEASE_S

pytestmark = pytest.mark.needs("redis-server")

KILLS = 2
#: what a worker that stands still does not take is stored, as far as there is room
ROOMY = ("--store-per-token", "1000000")


async def test_nothing_is_lost_when_workers_are_killed() -> None:
    async with crew_of(3, *ROOMY) as crew, loaded(crew) as load:
        for n in range(KILLS):
            await trio.sleep(CALM_S)
            os.kill(random.choice(await crew.nodes())["pid"], signal.SIGKILL)
            await crew.logged_n("worker_ready", 4 + n)
        await trio.sleep(CALM_S)
        # A kill may fall between writing and counting, for whatever is in hand at that moment.
        in_hand = KILLS * IN_HAND
        await agree(load, crew, in_hand=in_hand, doubles=in_hand)


async def test_nothing_is_lost_when_workers_are_replaced() -> None:
    async with crew_of(2, *ROOMY) as crew, loaded(crew) as load:
        await trio.sleep(CALM_S)
        crew.process.send_signal(signal.SIGHUP)
        await crew.logged_n("worker_ended", 2)
        await trio.sleep(CALM_S)
        books = await agree(load, crew)
        assert books["ended"]["lost"] == 0


async def test_nothing_is_lost_when_a_worker_stands_still_past_its_lease() -> None:
    async with crew_of(2, *ROOMY) as crew, loaded(crew) as load:
        await trio.sleep(CALM_S)
        stopped, _ = await crew.nodes()
        os.kill(stopped["pid"], signal.SIGSTOP)
        try:
            await trio.sleep(LEASE_S + 1)
        finally:
            os.kill(stopped["pid"], signal.SIGCONT)
        await trio.sleep(CALM_S)
        await agree(load, crew)
