"""Group commit: what is recorded gathers in a batch, and batches are written one at a time.

While one is being written the next gathers, so that under load a single write serves hundreds
of pushes; a batch that nobody waits for is written soon anyway, and one that fails is written
again. For journals; what a batch is and how it is written is theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, Self, TypeVar

import structlog
import trio

from trio_push.config import SECONDS
from trio_push.errors import StoreFailed

log = structlog.get_logger()

#: time after which a batch is written that nobody waits for: of what a crash undoes in it
#: nobody has been told, and it happens again (a delivery, say)
FLUSH_S: Final = 0.1 * SECONDS
#: time after which a batch that could not be written is tried again
RETRY_S: Final = 1 * SECONDS


class Changes(Protocol):
    """What is written together."""

    def follow(self, failed: Self, /) -> None:
        """Take over what an earlier batch has failed to write, where nothing newer is known."""


C = TypeVar("C", bound="Changes")


class _Batch(Generic[C]):
    def __init__(self, changes: C) -> None:
        self.changes = changes
        self.is_empty = True
        #: set when it has been written, or could not be: then `failure` says why
        self.done = trio.Event()
        self.failure: str | None = None


class GroupCommit(Generic[C]):
    """Writes batches, in `run`, with `write`, which raises StoreFailed."""

    def __init__(self, make: Callable[[], C], write: Callable[[C], Awaitable[None]]) -> None:
        self._make = make
        self._write = write
        #: counts what was recorded
        self.recorded = 0
        #: why the last batch could not be written, if so
        self.failure: str | None = None
        #: batches that could not be written
        self.failures = 0
        self._batch = _Batch(make())
        self._being_written: _Batch[C] | None = None
        self._has_work = trio.Event()
        self._is_awaited = trio.Event()

    def record(self) -> C:
        """The changes that gather now; the caller adds one."""
        self._batch.is_empty = False
        self.recorded += 1
        self._has_work.set()
        return self._batch.changes

    async def commit(self) -> None:
        """Wait until all that was recorded is written. Raises StoreFailed; it is tried again."""
        if not self._batch.is_empty:
            batch = self._batch
            self._is_awaited.set()
        elif self._being_written is not None:
            batch = self._being_written
        else:
            return
        await batch.done.wait()
        if batch.failure is not None:
            raise StoreFailed(batch.failure)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write, until cancelled."""
        task_status.started()
        while True:
            await self._has_work.wait()
            with trio.move_on_after(FLUSH_S):
                await self._is_awaited.wait()
            await self._write_batch()
            if self.failure is not None:
                await trio.sleep(RETRY_S)

    async def _write_batch(self) -> None:
        batch = self._being_written = self._batch
        self._batch = _Batch(self._make())
        self._has_work = trio.Event()
        self._is_awaited = trio.Event()
        try:
            await self._write(batch.changes)
        except StoreFailed as failed:
            self._note_failure(str(failed))
            batch.failure = self.failure
            self._batch.changes.follow(batch.changes)
            self._batch.is_empty = False
            self._has_work.set()
        else:
            self._note_success()
        self._being_written = None
        batch.done.set()

    def _note_failure(self, why: str) -> None:
        self.failures += 1
        if self.failure is None:
            log.error("store_failed", error=why, retry_s=RETRY_S)
        self.failure = why

    def _note_success(self) -> None:
        if self.failure is not None:
            log.info("store_recovered", failures=self.failures)
        self.failure = None
