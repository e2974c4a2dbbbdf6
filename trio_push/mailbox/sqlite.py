"""The journal in a SQLite file: group commit, in a thread.

Made by the server, run by the router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

import msgspec
import trio

from trio_push.mailbox.group_commit import GroupCommit
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

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Push).decode

#: does the writing, and returns when it is done
Write = Callable[[Callable[[Changes], None], Changes], Awaitable[None]]


class _Changes:
    """Rows that are written together: what each is to be, or that it is gone."""

    def __init__(self) -> None:
        self.tables: dict[Table, dict[Key, tuple[Value, ...] | None]] = {
            table: {} for table in TABLES
        }

    def follow(self, failed: _Changes) -> None:
        for table, rows in failed.tables.items():
            self.tables[table] = rows | self.tables[table]
        # Something that has to be written, or the next try might find nothing wrong.
        self.tables[META]["failed",] = ("failed", 1)


class SqliteJournal:
    """A journal in the file at `path`. Raises ConfigError when the file cannot be had."""

    durable = True

    def __init__(self, path: str, *, write: Write = trio.to_thread.run_sync) -> None:
        self._file = SqliteFile(path)
        self.epoch = self._file.epoch
        self.seq = self.floor = self._file.seq
        self._set_aside = self.seq + NUMBERS
        self._write = write
        self._commits = GroupCommit(_Changes, self._write_changes)
        self.commit = self._commits.commit
        self.run = self._commits.run

    @property
    def recorded(self) -> int:
        return self._commits.recorded

    @property
    def failure(self) -> str | None:
        return self._commits.failure

    @property
    def failures(self) -> int:
        """Transactions that failed."""
        return self._commits.failures

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
        """The row is to be this, or gone: the last word counts."""
        self._commits.record().tables[table][key] = row

    async def _write_changes(self, changes: _Changes) -> None:
        await self._write(self._file.write, changes.tables)
