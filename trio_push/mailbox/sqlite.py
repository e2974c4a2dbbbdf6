"""The journal in a SQLite file: group commit, in a thread.

What is recorded gathers in a batch. While one batch is being written the next gathers, so
that under load a single sync of the disk serves hundreds of pushes; a batch that nobody waits
for is written soon anyway. Made by the server, run by the router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import msgspec
import structlog
import trio

from trio_push.config import SECONDS
from trio_push.errors import StoreFailed
from trio_push.mailbox.journal import Row
from trio_push.mailbox.sqlite_file import (
    HELD,
    META,
    NUMBERS,
    TABLES,
    UNREGISTERED,
    USERS,
    Changes,
    Key,
    SqliteFile,
    Table,
    Value,
)
from trio_push.push import Push, State

log = structlog.get_logger()

#: time after which a batch is written that nobody waits for: of what a crash undoes in it
#: nobody has been told, and it happens again (a delivery, say)
FLUSH_S: Final = 0.1 * SECONDS
#: time after which a batch that could not be written is tried again
RETRY_S: Final = 1 * SECONDS

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Push).decode

#: does the writing, and returns when it is done
Write = Callable[[Callable[[Changes], None], Changes], Awaitable[None]]


class _Batch:
    """Changes that are written together."""

    def __init__(self) -> None:
        self.changes: dict[Table, dict[Key, tuple[Value, ...] | None]] = {
            table: {} for table in TABLES
        }
        self.is_empty = True
        #: set when it has been written, or could not be: then `failure` says why
        self.done = trio.Event()
        self.failure: str | None = None

    def record(self, table: Table, key: Key, row: tuple[Value, ...] | None) -> None:
        """The row is to be this, or gone: the last word counts."""
        self.changes[table][key] = row
        self.is_empty = False

    def follow(self, failed: _Batch) -> None:
        """Take over what an earlier batch has failed to write, where nothing newer is known."""
        for table, rows in failed.changes.items():
            self.changes[table] = rows | self.changes[table]
        self.is_empty = False


class SqliteJournal:
    """A journal in the file at `path`. Raises ConfigError when the file cannot be had."""

    durable = True

    def __init__(self, path: str, *, write: Write = trio.to_thread.run_sync) -> None:
        self._file = SqliteFile(path)
        self.epoch = self._file.epoch
        self.seq = self._file.seq
        self._set_aside = self.seq + NUMBERS
        self.recorded = 0
        self.failure: str | None = None
        #: transactions that failed
        self.failures = 0
        self._write = write
        self._batch = _Batch()
        self._being_written: _Batch | None = None
        self._has_work = trio.Event()
        self._is_awaited = trio.Event()

    def close(self) -> None:
        """Let go of the file; what was not committed is gone."""
        self._file.close()

    # -- what earlier runs left

    def rows(self) -> Iterator[Row]:
        for seq, token, state, data in self._file.rows(HELD):
            try:
                push = msgspec.structs.replace(_decode(data), token=token)
                yield Row(seq, push, State(state))
            except (msgspec.MsgspecError, TypeError, ValueError) as exc:
                raise self._file.damaged(HELD, exc) from exc

    def unregistered(self) -> Mapping[str, int]:
        return dict(self._file.rows(UNREGISTERED))

    def users(self) -> Mapping[str, str]:
        return dict(self._file.rows(USERS))

    # -- what happens now

    def keep(self, seq: int, push: Push, state: State) -> None:
        # the token is in the key already
        data = _encode(msgspec.structs.replace(push, token=""))
        self._record(HELD, (seq, push.token), (seq, push.token, int(state), data))

    def drop(self, seq: int, token: str) -> None:
        self._record(HELD, (seq, token), None)

    def unregister(self, token: str, at_ms: int) -> None:
        self._record(UNREGISTERED, (token,), (token, at_ms))

    def register(self, token: str) -> None:
        self._record(UNREGISTERED, (token,), None)

    def enrol(self, user: str, token: str) -> None:
        self._record(USERS, (token,), (token, user))

    def leave(self, token: str) -> None:
        self._record(USERS, (token,), None)

    def advance(self, seq: int) -> None:
        if seq > self._set_aside - NUMBERS // 2:
            self._set_aside = seq + NUMBERS
            self._record(META, ("seq",), ("seq", self._set_aside))

    def _record(self, table: Table, key: Key, row: tuple[Value, ...] | None) -> None:
        self._batch.record(table, key, row)
        self.recorded += 1
        self._has_work.set()

    # -- writing

    async def commit(self) -> None:
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
        self._batch = _Batch()
        self._has_work = trio.Event()
        self._is_awaited = trio.Event()
        try:
            await self._write(self._file.write, batch.changes)
        except StoreFailed as failed:
            self._note_failure(str(failed))
            batch.failure = self.failure
            self._batch.follow(batch)
            # Something that has to be written, or the next try might find nothing wrong.
            self._record(META, ("failures",), ("failures", self.failures))
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
