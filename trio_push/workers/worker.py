"""One worker: a server on shared listeners, and the end of its control channel.

The fork server calls `work` in a process that it has just forked. A worker ends when the parent
says so, when it gets SIGTERM itself, and when the parent is gone: always by draining, as a lone
server does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress

import structlog
import trio

from trio_push.errors import ConfigError, StoreFailed, Unreachable, leaves
from trio_push.listeners import Listeners
from trio_push.server import Inherited, Server, open_server
from trio_push.watch import logs
from trio_push.watch.garbage import keep_frozen
from trio_push.watch.ledger import Ledger
from trio_push.workers.link import Link, open_link
from trio_push.workers.messages import (
    Answers,
    Asked,
    Begin,
    Died,
    End,
    Fork,
    Hurry,
    Last,
    Leaving,
    Ready,
    Reply,
    ToWorker,
    Unusable,
)
from trio_push.workers.scoreboard import Column, Row, Scoreboard
from trio_push.workers.share import Share
from trio_push.workers.whole import Workers

log = structlog.get_logger()

#: seconds between two writings of this worker's row of the scoreboard
BEAT_S = 0.5


def work(order: Fork, files: list[int]) -> int:
    """Be the worker of `order`, until its end; returns the exit code of the process."""
    logs.configure(order.settings.log_level, order.settings.log_format, sys.stderr)
    structlog.contextvars.bind_contextvars(worker=order.place)
    return trio.run(_work, order, files)


async def _work(order: Fork, files: list[int]) -> int:
    control, board_fd, *listening = files
    board = Scoreboard(board_fd, order.rows)
    os.close(board_fd)
    with ExitStack() as sockets:
        listeners = Listeners.inherit(listening, order.plain, order.tls, sockets)
        async with open_link(socket.socket(fileno=control), ToWorker) as link:
            return await Worker(order, link, board).run(listeners)


class Worker:
    """The tasks of this process."""

    def __init__(self, order: Fork, link: Link, board: Scoreboard) -> None:
        self._settings = order.settings
        self._link = link
        self._row: Row = board.rows[order.row]
        self._share = Share(board, order.row)
        self._whole = Workers(order, link, board)
        self._server: Server | None = None
        self._ending = trio.Event()
        self._retiring = False
        self._draining = trio.CancelScope()

    async def run(self, listeners: Listeners) -> int:
        """Serve until it is to end, and drain. Returns the exit code."""
        code = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear)
            await nursery.start(self._hear_signals)
            ledger = Ledger(self._row.counts, self._row.origins)
            try:
                async with open_server(
                    self._settings,
                    inherited=Inherited(listeners, self._whole, ledger, self._share),
                ) as server:
                    await self._serve(server)
            except* (ConfigError, Unreachable) as group:
                self._link.send(Unusable("; ".join(str(each) for each in leaves(group))))
                code = 2
            nursery.cancel_scope.cancel()
        return code

    async def _serve(self, server: Server) -> None:
        self._server = server
        self._share.prepare(server.connections, server.capacity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat, server)
            # Not while it drains: who goes then is not worth a look.
            async with trio.open_nursery() as serving:
                serving.start_soon(keep_frozen, server.node.directory.__len__)
                self._link.send(Ready(server.node.id))
                await self._ending.wait()
                serving.cancel_scope.cancel()
            self._row[Column.ACCEPTING] = 0
            log.info("stopping", drain_s=self._settings.drain_s)
            with self._draining:
                await server.drain(retiring=self._retiring)
            nursery.cancel_scope.cancel()
        self._write_row(server)
        if "metrics" in server.node.answers:
            self._link.send(Last(await server.node.answers["metrics"](b"")))

    async def _hear(self) -> None:
        """Do what the parent says; when it is gone there is nobody to serve for."""
        async with trio.open_nursery() as nursery:
            async for message in self._link:
                match message:
                    case Begin():
                        self._whole.ready = True
                        self._share.begin()
                    case End(retiring):
                        self._end(retiring=retiring)
                    case Hurry():
                        self._draining.cancel()
                    case Died(node):
                        nursery.start_soon(self._report_dead, node)
                    case Asked():
                        nursery.start_soon(self._answer, message)
                    case Answers():
                        self._whole.take_answers(message)
        if not self._ending.is_set():
            log.warning("parent_gone")
        self._end(retiring=False)

    async def _hear_signals(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        # A second one is not for us: whoever is in a hurry tells the parent.
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if not self._ending.is_set():
                    self._link.send(Leaving())
                    self._end(retiring=True)

    def _end(self, *, retiring: bool) -> None:
        if not self._ending.is_set():
            self._retiring = retiring
            self._ending.set()

    async def _report_dead(self, node: str) -> None:
        """End the lease of a dead node, so that nobody waits until it lapses."""
        engine = self._server and self._server.node.engine
        if engine:
            with suppress(StoreFailed):  # then it lapses
                await engine.shared.leave(node)

    async def _answer(self, asked: Asked) -> None:
        """Answer for this node; a failure is logged, and then it is as if it were not there."""
        body: bytes | None = None
        if self._server is not None and asked.kind in self._server.node.answers:
            answer = self._server.node.answers[asked.kind]
            try:
                body = await answer(asked.body)
            except Exception:
                log.exception("question_failed", kind=asked.kind)
        self._link.send(Reply(asked.id, body))

    async def _beat(self, server: Server) -> None:
        while True:
            self._write_row(server)
            await trio.sleep(BEAT_S)

    def _write_row(self, server: Server) -> None:
        self._share.beat()
        self._row[Column.DEVICES] = len(server.node.directory)
