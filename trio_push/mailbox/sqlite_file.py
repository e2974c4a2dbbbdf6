"""The SQLite file of a durable store: its tables, who may open it, one transaction at a time.

Used by the SQLite journal, from its writer's thread once it runs. Blocks; knows nothing of
trio. One process has the file: a second finds it locked.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from trio_push.errors import ConfigError, StoreFailed

#: of the tables and of what is in them; raised when an older server could not read them
VERSION: Final = 1
#: what says that a file is ours: "tPus" in its header, where `file` and we look
APPLICATION_ID: Final = 0x74507573
#: Numbers set aside at a time. A crash costs those not used, and after 8 million crashes a
#: number would not fit a JavaScript client; at 50,000 pushes/s they last for six hours.
NUMBERS: Final = 2**30
#: Rows in one statement. The interpreter's lock is let go and waited for at each statement: row
#: by row, 512 rows took 150 ms beside a busy loop, and take 1 ms by the hundred.
ROWS: Final = 256
#: Pages of 4 KiB that are left empty in the file. More than that, and more than half of it, is
#: given back at the next start.
SLACK_PAGES: Final = 4096

Value = str | int | bytes
Key = tuple[Value, ...]
#: of each table, the rows to write and the keys of rows to delete (None)
Changes = Mapping["Table", Mapping[Key, "tuple[Value, ...] | None"]]


class Table(NamedTuple):
    """A table: its name and its columns, those of the key first."""

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]

    def create(self) -> str:
        columns = ", ".join(self.key + self.values)
        key = ", ".join(self.key)
        return f"CREATE TABLE {self.name} ({columns}, PRIMARY KEY ({key})) WITHOUT ROWID"

    def upsert(self, n: int) -> str:
        return f"REPLACE INTO {self.name} VALUES {_marks(len(self.key + self.values), n)}"

    def delete(self, n: int) -> str:
        # Not `IN (VALUES …)`: SQLite would walk through the whole table for it.
        keys = f"SELECT * FROM (VALUES {_marks(len(self.key), n)})"
        return f"DELETE FROM {self.name} WHERE ({', '.join(self.key)}) IN ({keys})"


#: The number first: what is held later lies further back, so that pages fill in order.
HELD: Final = Table("held", ("seq", "token"), ("state", "push"))
UNREGISTERED: Final = Table("unregistered", ("token",), ("at_ms",))
USERS: Final = Table("users", ("token",), ("user",))
META: Final = Table("meta", ("name",), ("value",))
TABLES: Final = (HELD, UNREGISTERED, USERS, META)


class SqliteFile:
    """An open file, locked for this process. Raises ConfigError when it cannot be had."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # Threads take turns with it, never two at a time.
            self._db = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as exc:
            raise self._unusable(exc) from exc
        try:
            self._take_possession()
        except sqlite3.Error as exc:
            self.close()
            raise self._unusable(exc) from exc
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        self._db.close()

    # -- opening

    def _take_possession(self) -> None:
        """Lock the file, make what is missing, set numbers aside."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        is_new = self._check_whose()
        if is_new:
            # Before there is a write-ahead log, which takes its mode from the file.
            with suppress(OSError):
                Path(self._path).chmod(0o600)
        if self._pragma("journal_mode = WAL") != "wal":
            raise self._refused("its file system has no write-ahead log: use a local one")
        # A commit is on disk, not with the kernel, when it returns.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN EXCLUSIVE")
        if is_new:
            for table in TABLES:
                self._db.execute(table.create())
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {VERSION}")
            self._put("epoch", secrets.token_hex(4))
            self._put("seq", 0)
        self.epoch = str(self._get("epoch"))
        self.seq = int(self._get("seq"))
        self._put("seq", self.seq + NUMBERS)
        self._db.execute("COMMIT")
        self._give_back_space()

    def _check_whose(self) -> bool:
        """Whether the file is new. Raises ConfigError when it is not for this program."""
        version = self._pragma("user_version")
        if self._pragma("application_id") == APPLICATION_ID:
            if version > VERSION:
                raise self._refused(
                    f"a newer trio-push wrote it (its version is {version}, {VERSION} is known "
                    "here): use that, or another file"
                )
            return False
        if version or self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self._refused("it belongs to another program: use another file")
        return True

    def _give_back_space(self) -> None:
        """Space of rows that are gone is used again; here is what a great burst has left."""
        free = self._pragma("freelist_count")
        if free > SLACK_PAGES and free > self._pragma("page_count") / 2:
            with suppress(sqlite3.Error):  # it needs room, and can be done without
                self._db.execute("VACUUM")

    def _pragma(self, text: str) -> Any:  # Any: a number or a word, each knows which
        return self._db.execute(f"PRAGMA {text}").fetchone()[0]

    def _put(self, name: str, value: Value) -> None:
        self._db.execute(META.upsert(1), (name, value))

    def _get(self, name: str) -> Any:  # Any: what was put
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise self._refused(f"it has no {name!r} and is damaged: {_MOVE_AWAY}")
        return row[0]

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(f"--store sqlite:{self._path} cannot be used: {why}")

    def _unusable(self, exc: sqlite3.Error) -> ConfigError:
        code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return self._refused(f"{exc}: {_REMEDIES.get(code, 'see the words of SQLite')}")

    # -- reading and writing

    def rows(self, table: Table) -> Iterator[tuple[Any, ...]]:  # Any: the columns' types
        """All rows by key. Raises ConfigError when the file is damaged."""
        order = ", ".join(table.key)
        try:
            yield from self._db.execute(f"SELECT * FROM {table.name} ORDER BY {order}")
        except sqlite3.Error as exc:
            raise self._unusable(exc) from exc

    def damaged(self, table: Table, exc: Exception) -> ConfigError:
        """The error for a row that nobody can read."""
        return self._refused(f"its table {table.name} is damaged ({exc}): {_MOVE_AWAY}")

    def write(self, changes: Changes) -> None:
        """Make the changes, all or none of them; on disk when it returns.

        Raises StoreFailed, and nothing has changed.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for table, rows in changes.items():
                self._delete(table, [key for key, row in rows.items() if row is None])
                self._upsert(table, [row for row in rows.values() if row is not None])
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            with suppress(sqlite3.Error):  # SQLite may have rolled back itself
                self._db.execute("ROLLBACK")
            raise StoreFailed(str(exc)) from exc

    def _delete(self, table: Table, keys: list[Key]) -> None:
        for some in _bunches(keys):
            self._db.execute(table.delete(len(some)), list(chain.from_iterable(some)))

    def _upsert(self, table: Table, rows: list[tuple[Value, ...]]) -> None:
        for some in _bunches(rows):
            self._db.execute(table.upsert(len(some)), list(chain.from_iterable(some)))


def _marks(columns: int, n: int) -> str:
    return ",".join([f"({','.join('?' * columns)})"] * n)


def _bunches(rows: list[tuple[Value, ...]]) -> Iterator[list[tuple[Value, ...]]]:
    """`ROWS` at a time, the rest by powers of two: few statements, each prepared once."""
    start, size = 0, ROWS
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size


_MOVE_AWAY: Final = "move it away (with its -wal) to start with an empty one, or restore a copy"
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "another server has it open; stop that, or use another file",
    sqlite3.SQLITE_CANTOPEN: "its directory must exist, and this user must be able to write there",
    sqlite3.SQLITE_READONLY: "this user must be able to write to it and to its directory",
    sqlite3.SQLITE_FULL: "make room on its disk",
    # what a file says that may be read only: it cannot be locked for writing
    sqlite3.SQLITE_IOERR: "this user must be able to write to it, and its disk must be sound",
    sqlite3.SQLITE_NOTADB: _MOVE_AWAY,
    sqlite3.SQLITE_CORRUPT: _MOVE_AWAY,
}
