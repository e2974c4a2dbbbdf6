"""The parent of `serve --workers N`: holds the listening sockets and keeps N workers running.

It serves nobody itself. What it decides is in `crew.py`; here that is carried out, and questions
of one worker are put to all.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import trio

from trio_push.config import ServeSettings
from trio_push.engine.engine import LEAVE_S
from trio_push.errors import ConfigError
from trio_push.listeners import Listeners
from trio_push.push import State
from trio_push.server import API_GRACE_S, PROVIDER_GRACE_S, STORE_GRACE_S
from trio_push.workers.crew import Accept, Crew, Drain, Order, Start
from trio_push.workers.forking import Child, ForkServer
from trio_push.workers.link import Link, open_link
from trio_push.workers.messages import (
    Begin,
    Died,
    End,
    Fork,
    FromWorker,
    Hurry,
    Last,
    Leaving,
    Question,
    Ready,
    Reply,
    Unusable,
)
from trio_push.workers.questions import Questions
from trio_push.workers.scoreboard import Column, Scoreboard, bury
from trio_push.workers.split import split

log = structlog.get_logger()

#: seconds that a worker has beyond its drain time before it is killed
GRACE_S = 2 * PROVIDER_GRACE_S + API_GRACE_S + STORE_GRACE_S + LEAVE_S + 2.0
#: the same when somebody is in a hurry
HURRY_S = STORE_GRACE_S + LEAVE_S + 1.0
#: seconds between the end of a worker's channel and that of its process
EXIT_S = 2.0


class Worker:
    """One worker as the parent knows it."""

    def __init__(self, place: int, row: int, link: Link, child: Child) -> None:
        self.place = place
        self.row = row
        self.link = link
        self.child = child
        #: the id of its node, once it is ready
        self.node = ""
        self.ended = trio.Event()


class Parent:
    """The tasks of this process."""

    def __init__(
        self,
        settings: ServeSettings,
        forks: ForkServer,
        listeners: Listeners,
        announce: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._forks = forks
        self._listeners = listeners
        self._announce = announce
        self._whole = secrets.token_hex(4)
        self._crew = Crew(settings.workers, random.random)
        # twice as many as workers: while one is replaced there are two of it
        self._board, self._board_fd = Scoreboard.create(1 + 2 * settings.workers)
        self._workers: dict[int, Worker] = {}
        self._questions = Questions()
        self._nursery: trio.Nursery
        #: something may be due at another time than it was
        self._changed = trio.Event()
        self._all_ended = trio.Event()
        #: why the workers cannot serve with these settings
        self._unusable: str | None = None
        #: a worker ended before all had been ready once
        self.failed = False

    async def run(self) -> None:
        """Keep workers running until they are told to stop, and have. Raises ConfigError."""
        async with trio.open_nursery() as self._nursery:
            self._carry_out(self._crew.start(trio.current_time()))
            self._nursery.start_soon(self._restart)
            await self._all_ended.wait()
            self._nursery.cancel_scope.cancel()
        os.close(self._board_fd)
        if self._unusable is not None:
            raise ConfigError(self._unusable)

    def close_books(self, *, is_kept: bool) -> None:
        """Say what has become of all pushes; those in Redis are lost if it is not kept."""
        past = self._board.past
        counts = past.counts
        # what was there before us and was taken over makes it less than nothing
        in_redis = max(counts[State.HANDED_OVER] - past[Column.TAKEN_OVER], 0)
        lost = counts[State.LOST] + (0 if is_kept else in_redis)
        held = in_redis if is_kept else 0
        accepted = sum(counts) - sum(past.origins)
        log.info("all_stopped", accepted=accepted, held=held, lost=lost)

    async def follow(self, signals: AsyncIterator[int]) -> None:
        """Do what the signals say."""
        async for number in signals:
            if number == signal.SIGHUP:
                log.info("replacing_workers")
                self._carry_out(self._crew.replace(trio.current_time()))
            elif self._crew.stopping:
                self._hurry()
            else:
                drain_s = self._settings.drain_s
                log.info("stopping", signal=signal.Signals(number).name, drain_s=drain_s)
                self._stop()

    # -- orders

    def _carry_out(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Start(key, place):
                    self._nursery.start_soon(self._tend, key, place)
                case Accept(key):
                    self._workers[key].link.send(Begin())
                case Drain(key, retiring):
                    self._drain(key, retiring=retiring)
        self._changed.set()

    async def _restart(self) -> None:
        """Start workers when they are due."""
        while True:
            self._changed = trio.Event()
            due = self._crew.next_due()
            with trio.move_on_at(float("inf") if due is None else due):
                await self._changed.wait()
            self._carry_out(self._crew.due(trio.current_time()))

    def _drain(self, key: int, *, retiring: bool) -> None:
        worker = self._workers.get(key)
        if worker is None:
            return
        worker.link.send(End(retiring))
        self._nursery.start_soon(self._kill_after, worker, self._settings.drain_s + GRACE_S)

    async def _kill_after(self, worker: Worker, patience_s: float) -> None:
        with trio.move_on_after(patience_s) as patience:
            await worker.ended.wait()
        if patience.cancelled_caught:
            log.warning("worker_killed", worker=worker.place)
            worker.child.kill()

    def _stop(self) -> None:
        self._carry_out(self._crew.stop())
        if not self._crew.keys:
            self._all_ended.set()

    def _hurry(self) -> None:
        for worker in self._workers.values():
            worker.link.send(Hurry())
            self._nursery.start_soon(self._kill_after, worker, HURRY_S)

    # -- one worker

    async def _tend(self, key: int, place: int) -> None:
        """Start a worker and hear it, until it has ended."""
        started_at = trio.current_time()
        row = self._take_row()
        ours, theirs = socket.socketpair()
        with theirs:
            child = self._fork(key, place, row, theirs)
        async with open_link(ours, FromWorker) as link:
            worker = self._workers[key] = Worker(place, row, link, child)
            if self._crew.stopping:
                self._drain(key, retiring=False)
            async for message in link:
                self._hear(key, worker, message)
        with trio.move_on_after(EXIT_S) as patience:
            await child.ended.wait()
        if patience.cancelled_caught:
            child.kill()
        self._bury(key, worker, trio.current_time() - started_at)

    def _fork(self, key: int, place: int, row: int, control: socket.socket) -> Child:
        settings = split(self._settings, place)
        order = Fork(
            key=key,
            place=place,
            row=row,
            rows=len(self._board.rows),
            whole=self._whole,
            settings=settings,
            plain=len(self._listeners.plain),
            tls=len(self._listeners.tls),
        )
        files = [control.fileno(), self._board_fd, *(each.fileno() for each in self._listeners)]
        return self._forks.fork(order, files)

    def _take_row(self) -> int:
        number = next(i for i, row in enumerate(self._board.rows) if i and not row[Column.TAKEN])
        self._board.rows[number].clear()
        self._board.rows[number][Column.TAKEN] = 1
        return number

    def _hear(self, key: int, worker: Worker, message: Any) -> None:
        match message:
            case Ready(node):
                worker.node = node
                log.info("worker_ready", worker=worker.place, node=node, pid=worker.child.pid)
                was_complete = self._crew.complete
                self._carry_out(self._crew.ready(key))
                if self._crew.complete and not was_complete:
                    self._announce()
            case Unusable(why):
                log.error("worker_unusable", worker=worker.place, error=why)
                if not self._crew.complete:
                    self._unusable = why
            case Leaving():
                self._crew.drained_itself(key)
            case Question():
                asked = {key: each for key, each in self._workers.items() if each.node}
                self._nursery.start_soon(self._questions.put, message, worker.link, asked)
            case Reply():
                self._questions.take_reply(key, message)
            case Last(metrics):
                self._questions.take_last(key, metrics)

    def _bury(self, key: int, worker: Worker, lived_s: float) -> None:
        """A worker has ended: keep what it has counted, and see what becomes of its place."""
        code = worker.child.code
        row = self._board.rows[worker.row]
        bury(row, self._board.past)
        del self._workers[key]
        worker.ended.set()
        self._questions.forget(key)
        expected = code == 0
        (log.info if expected else log.error)(
            "worker_ended", worker=worker.place, node=worker.node, code=code, lived_s=round(lived_s)
        )
        if not expected and worker.node:
            for other in self._workers.values():
                other.link.send(Died(worker.node))
        deaths, began = self._crew.deaths, self._crew.complete or self._crew.stopping
        self._carry_out(self._crew.ended(key, trio.current_time()))
        if self._crew.deaths > deaths:
            self._questions.count_death()
        if not began:
            self.failed = True
            self._stop()
        if self._crew.stopping and not self._crew.keys:
            self._all_ended.set()
