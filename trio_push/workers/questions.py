"""Questions of one worker, put by the parent to all workers, and what it remembers of answers.

A counter of a metric must not go back when its worker ends: whoever watches would see a restart
of the whole. So the last answer of each worker about its metrics is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Final, Protocol

import trio

from trio_push.watch.metrics import WORKER_DEATHS
from trio_push.watch.summing import counters_of, sum_metrics
from trio_push.workers.link import Link
from trio_push.workers.messages import Answers, Asked, Heard, Question, Reply

#: the kind of question that is about metrics
METRICS: Final = "metrics"

_ONE_DEATH: Final = (
    b"# HELP trio_push_worker_deaths_total %b\n# TYPE trio_push_worker_deaths_total counter\n"
    b"trio_push_worker_deaths_total 1.0\n" % WORKER_DEATHS.help.encode()
)


class Asking(Protocol):
    """A worker that can be asked."""

    @property
    def place(self) -> int: ...
    @property
    def row(self) -> int: ...
    @property
    def node(self) -> str: ...
    @property
    def link(self) -> Link: ...


class _Put:
    """A question that has been put to some workers, by their keys."""

    def __init__(self, kind: str, keys: set[int]) -> None:
        self.kind = kind
        self.missing = keys
        self.replies: dict[int, bytes | None] = {}
        self.done = trio.Event()

    def take(self, key: int, body: bytes | None) -> None:
        if key in self.missing:
            self.missing.discard(key)
            self.replies[key] = body
        if not self.missing:
            self.done.set()


class Questions:
    """Those that wait for answers."""

    def __init__(self) -> None:
        self._ids = count()
        self._put: dict[int, _Put] = {}
        #: the last that each worker has said of its metrics, and what those have left that ended
        self._metrics: dict[int, bytes] = {}
        self._past = b""

    async def put(self, question: Question, asker: Link, workers: Mapping[int, Asking]) -> None:
        """Ask all of `workers` and tell `asker` what they say, in time."""
        id = next(self._ids)
        put = self._put[id] = _Put(question.kind, set(workers))
        for key, worker in workers.items():
            if not worker.link.send(Asked(id, question.kind, question.body)):
                put.take(key, None)
        with trio.move_on_after(question.timeout_s):
            await put.done.wait()
        del self._put[id]
        heard = [
            Heard(worker.place, worker.row, worker.node, put.replies.get(key))
            for key, worker in workers.items()
        ]
        if question.kind == METRICS and self._past:
            heard.append(Heard(0, 0, "", self._past))
        asker.send(Answers(question.id, heard))

    def take_reply(self, key: int, reply: Reply) -> None:
        """A worker has answered; it may be too late."""
        put = self._put.get(reply.id)
        if put is None:
            return
        if put.kind == METRICS and reply.body is not None:
            self._metrics[key] = reply.body
        put.take(key, reply.body)

    def take_last(self, key: int, metrics: bytes) -> None:
        """A worker that ends says its last metrics."""
        self._metrics[key] = metrics

    def count_death(self) -> None:
        """A worker ended that should not have."""
        self._past = sum_metrics([self._past, _ONE_DEATH])

    def forget(self, key: int) -> None:
        """A worker has ended."""
        for put in self._put.values():
            put.take(key, None)
        if key in self._metrics:
            self._past = sum_metrics([self._past, counters_of(self._metrics.pop(key))])
