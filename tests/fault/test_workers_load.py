"""Workers are killed and stopped under load: whatever got its 200 and may be kept arrives."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from tests.serving import Peer
from tests.workers.running import Crew, crew_of, until
from trio_push.engine.members import LEASE_S

pytestmark = pytest.mark.needs("redis-server")

TOKENS = [f"d{n:03x}" for n in range(12)]
#: seconds of load before, between and after the faults
CALM_S = 0.5
KILLS = 2
#: what a worker that stands still does not take is stored, as far as there is room
ROOMY = ("--store-per-token", "1000000")
#: what a test and an end of its connection raise when the other end is gone
GONE = (AssertionError, OSError, trio.BrokenResourceError)


class Account:
    """What the providers were told and what the devices have read."""

    def __init__(self) -> None:
        self._number = 0
        self.accepted: set[int] = set()
        self.read: Counter[int] = Counter()

    def next(self) -> int:
        self._number += 1
        return self._number

    def missing(self) -> set[int]:
        return self.accepted - self.read.keys()


async def again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    """A peer that connects again whenever its worker is gone."""
    while True:
        with suppress(*GONE):
            await work()
        await trio.sleep(0.02)


class Load:
    """Devices that listen, and providers that push to them, until cancelled."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.account = Account()
        self.pushing = trio.CancelScope()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for token in TOKENS:
                nursery.start_soon(again_and_again, lambda token=token: self._listen(token))
            with self.pushing:
                async with trio.open_nursery() as providers:
                    for _ in range(4):
                        providers.start_soon(again_and_again, self._push)

    async def _listen(self, token: str) -> None:
        async with Peer.connected(self._crew.url) as peer:
            await peer.listen(token)
            while True:
                self.account.read[json.loads((await peer.event()).data)["n"]] += 1

    async def _push(self) -> None:
        async with Peer.connected(self._crew.url) as peer:
            while True:
                number = self.account.next()
                # a topic of its own, or a newer push would replace it
                headers: dict[str, Any] = {
                    "apns_topic": f"t{number}",
                    "apns_expiration": str(int(time.time()) + 3600),
                }
                body = json.dumps({"n": number}).encode()
                response = await peer.push(random.choice(TOKENS), body, **headers)
                assert response.status in (200, 503), response
                if response.status == 200:
                    self.account.accepted.add(number)

    async def has_arrived(self) -> None:
        """Push no more, and wait for what is to come."""
        self.pushing.cancel()
        await until(lambda: not self.account.missing())


async def test_nothing_is_lost_when_workers_are_killed() -> None:
    async with crew_of(3, *ROOMY) as crew, trio.open_nursery() as nursery:
        load = Load(crew)
        nursery.start_soon(load.run)
        for n in range(KILLS):
            await trio.sleep(CALM_S)
            os.kill(random.choice(await crew.nodes())["pid"], signal.SIGKILL)
            await crew.logged_n("worker_ready", 4 + n)
        await trio.sleep(CALM_S)
        await load.has_arrived()
        assert len(load.account.accepted) > 100
        books = await crew.get("/v1/ledger")
        assert books["balanced"], books
        assert books["accepted"] >= len(load.account.accepted)
        assert books["ended"]["lost"] <= KILLS
        # also what arrived twice is in the books; a kill may fall between writing and counting
        surplus = books["ended"]["delivered"] - load.account.read.total()
        assert abs(surplus) <= KILLS
        nursery.cancel_scope.cancel()


async def test_nothing_is_lost_when_workers_are_replaced() -> None:
    async with crew_of(2, *ROOMY) as crew, trio.open_nursery() as nursery:
        load = Load(crew)
        nursery.start_soon(load.run)
        await trio.sleep(CALM_S)
        crew.process.send_signal(signal.SIGHUP)
        await crew.logged_n("worker_ended", 2)
        await trio.sleep(CALM_S)
        await load.has_arrived()
        assert len(load.account.accepted) > 100
        books = await crew.get("/v1/ledger")
        assert books["balanced"], books
        assert books["ended"]["lost"] == 0
        nursery.cancel_scope.cancel()


async def test_nothing_is_lost_when_a_worker_stands_still_past_its_lease() -> None:
    async with crew_of(2, *ROOMY) as crew, trio.open_nursery() as nursery:
        load = Load(crew)
        nursery.start_soon(load.run)
        await trio.sleep(CALM_S)
        stopped, _ = await crew.nodes()
        os.kill(stopped["pid"], signal.SIGSTOP)
        try:
            await trio.sleep(LEASE_S + 1)
        finally:
            os.kill(stopped["pid"], signal.SIGCONT)
        await trio.sleep(CALM_S)
        await load.has_arrived()
        assert len(load.account.accepted) > 100
        books = await crew.get("/v1/ledger")
        assert books["balanced"], books
        nursery.cancel_scope.cancel()
