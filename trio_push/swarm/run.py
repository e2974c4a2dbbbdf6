"""One run of a swarm, phase by phase.

connecting   devices start at the ramp's rate, until each has tried
running      the driver pushes, or others do, for the time given
settling     what is on the way may still arrive; then the books are compared
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from trio_push.swarm.audit import Audit
from trio_push.swarm.books import (
    Books,
    Reading,
    audit_alone,
    incomplete,
    reconcile,
    still_to_come,
    unheard_acks,
)
from trio_push.swarm.display import Progress
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.lag import watch_lag
from trio_push.swarm.parts import Parts
from trio_push.swarm.report import Measured, Report, make_report
from trio_push.swarm.server_ledger import ServerLedger
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.worst import Worst

#: the longest that what is on the way is waited for, once the driver has all its answers
SETTLE_S = 10.0
#: between two looks whether everything has arrived
LOOK_S = 0.1
#: what a server wrote has arrived by then; and without a ledger, when nothing more comes for so
#: long, that was it
QUIET_S = 2.0


class Run:
    """Made for one run; `stop` ends it early, with a report."""

    def __init__(self, settings: SwarmSettings, parts: Parts, ledger: ServerLedger) -> None:
        self._settings = settings
        self._parts = parts
        self._ledger = ledger
        self._phase = "connecting"
        self._stop = trio.Event()
        self._lag = Histogram()
        self._began = trio.current_time()

    def stop(self) -> None:
        """Go on to the settling."""
        self._stop.set()

    def look(self) -> Progress:
        """How far it is."""
        return Progress(
            phase=self._phase,
            elapsed_s=trio.current_time() - self._began,
            devices=self._settings.devices,
            connections=self._parts.crowd.connections,
            audit=self._parts.audit,
        )

    async def run(self) -> Report:
        """Take the swarm through its phases. Its devices are gone when this returns."""
        cpu_began_s = time.process_time()
        before = await self._ledger.read()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_lag, self._lag)
            await nursery.start(self._parts.crowd.run, self.stop)
            await self._until_stopped(self._parts.crowd.connect)
            self._phase = "running"
            await self._push_or_listen_in_unrest()
            self._phase = "settling"
            await self._parts.crowd.settle()
            books = await self._settle(before)
            worst = await self._parts.crowd.worst(lost=books.lost)
            report = self._report(books, worst, time.process_time() - cpu_began_s)
            self._phase = "closing"
            nursery.cancel_scope.cancel()
        return report

    async def _push_or_listen_in_unrest(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._parts.crowd.stir)
            await self._push_or_listen()
            nursery.cancel_scope.cancel()

    async def _push_or_listen(self) -> None:
        duration_s = self._settings.duration_s or math.inf
        driver = self._parts.driver
        if driver is None or self._stop.is_set():
            await self._until_stopped(partial(trio.sleep, duration_s))
            return
        async with trio.open_nursery() as nursery:

            async def stop_driver() -> None:
                await self._stop.wait()
                driver.stop()

            nursery.start_soon(stop_driver)
            await driver.run(duration_s)
            nursery.cancel_scope.cancel()

    async def _until_stopped(self, work: Callable[[], Awaitable[object]]) -> None:
        async with trio.open_nursery() as nursery:

            async def cancel_when_stopped() -> None:
                await self._stop.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_when_stopped)
            await work()
            nursery.cancel_scope.cancel()

    async def _settle(self, before: Reading | None) -> Books:
        """Wait for what is on the way, as long as that makes sense, and compare the books."""
        audit = self._parts.audit
        if before is None:
            await self._wait_quiet()
            books = audit_alone(audit, self._ledger.missing)
        else:
            after, received = await wait_settled(before, self._ledger, audit)
            books = reconcile(before, after, audit, received)
        await self._wait_calls_made()
        return incomplete(books, self._parts.crowd.losses)

    async def _wait_quiet(self) -> None:
        """Without a ledger: when nothing more comes, that was it."""
        audit = self._parts.audit
        with trio.move_on_after(SETTLE_S):
            while self._parts.driver is not None and audit.unseen() > 0:
                received = audit.deliveries.received
                await trio.sleep(QUIET_S)
                if received == audit.deliveries.received:
                    return

    async def _wait_calls_made(self) -> None:
        with trio.move_on_after(self._settings.think_s + SETTLE_S):
            while self._parts.crowd.calls.open:
                await trio.sleep(LOOK_S)

    def _report(self, books: Books, worst: Sequence[Worst], cpu_s: float) -> Report:
        parts, settings = self._parts, self._settings
        self._lag.merge(parts.crowd.lag)
        return make_report(
            Measured(
                settings=settings,
                connections=parts.crowd.connections,
                audit=parts.audit,
                books=books,
                worst=worst,
                behind=parts.driver.behind if parts.driver is not None else Histogram(),
                lag=self._lag,
                calls=None if settings.on_push_url is None else parts.crowd.calls,
                duration_s=trio.current_time() - self._began,
                cpu_s=max(cpu_s, parts.crowd.cpu_s),
            )
        )


async def wait_settled(
    before: Reading, ledger: ServerLedger, audit: Audit
) -> tuple[Reading | None, int]:
    """The ledger when nothing is on the way any more (or SETTLE_S have passed).

    And what the devices had received just before: while others go on pushing, the ledger
    lies between that and what they have received when this returns.
    """
    deadline = trio.current_time() + SETTLE_S
    deliveries = audit.deliveries
    while True:
        received, marked = deliveries.received, deliveries.marked
        reading = await ledger.read()
        settled = reading is not None and await _has_all_come(before, reading, audit)
        # what a device says that it has read makes pushes to others, which the ledger lacks
        settled = settled and marked == deliveries.marked
        if reading is not None and unheard_acks(before, reading, audit, received):
            settled = False
        if settled or trio.current_time() >= deadline:
            return reading, received
        await trio.sleep(LOOK_S)


async def _has_all_come(before: Reading, reading: Reading, audit: Audit) -> bool:
    with trio.move_on_after(QUIET_S) as waiting:
        while still_to_come(before, reading, audit):
            await trio.sleep(LOOK_S)
    return not waiting.cancelled_caught
