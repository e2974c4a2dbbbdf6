"""The file: who may open it, what it says when it cannot be used, all of a change or nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from trio_push.errors import ConfigError, StoreFailed
from trio_push.mailbox import sqlite_file
from trio_push.mailbox.sqlite_file import (
    HELD,
    META,
    NUMBERS,
    TABLES,
    UNREGISTERED,
    Changes,
    SqliteFile,
    Table,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "pushes.db")


@pytest.fixture
def file(path: str) -> Iterator[SqliteFile]:
    file = SqliteFile(path)
    yield file
    file.close()


def held(*numbers: int, size: int = 10) -> Changes:
    return {HELD: {(n, "aa"): (n, "aa", 2, b"x" * size) for n in numbers}}


def numbers(file: SqliteFile) -> list[int]:
    return [row[0] for row in file.rows(HELD)]


def fill_disk(file: SqliteFile) -> None:
    """From now on there is no room for another page."""
    file._db.execute(f"PRAGMA max_page_count = {file._pragma('page_count')}")


def make_room(file: SqliteFile) -> None:
    file._db.execute("PRAGMA max_page_count = 1000000")


# -- opening


def test_it_remembers_its_epoch_and_never_uses_a_number_again(path: str) -> None:
    first = SqliteFile(path)
    first.close()
    second = SqliteFile(path)
    second.close()
    assert first.epoch == second.epoch
    assert (first.seq, second.seq) == (0, NUMBERS)


def test_two_files_have_different_epochs(tmp_path: Path) -> None:
    files = [SqliteFile(str(tmp_path / name)) for name in ("a", "b")]
    assert files[0].epoch != files[1].epoch
    for file in files:
        file.close()


def test_nobody_else_may_read_it(path: str, file: SqliteFile) -> None:
    file.write(held(1))
    for name in (path, path + "-wal"):
        assert Path(name).stat().st_mode & 0o777 == 0o600


def test_numbers_last_for_a_javascript_client() -> None:
    assert 2**53 // NUMBERS > 1_000_000


def test_a_second_server_is_told_so(path: str, file: SqliteFile) -> None:
    with pytest.raises(ConfigError, match="locked: another server has it open"):
        SqliteFile(path)
    file.write(held(1))


def test_it_can_be_opened_when_the_first_has_let_go(path: str) -> None:
    SqliteFile(path).close()
    SqliteFile(path).close()


def altered(path: str, *statements: str) -> None:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["PRAGMA user_version = 2"], "a newer trio-push wrote it .* use that, or another file"),
        (["PRAGMA application_id = 7"], "belongs to another program: use another file"),
        (["DELETE FROM meta"], "has no 'epoch' and is damaged: move it away"),
    ],
)
def test_a_file_that_is_not_for_us(path: str, statements: list[str], problem: str) -> None:
    SqliteFile(path).close()
    altered(path, *statements)
    with pytest.raises(ConfigError, match=rf"^--store sqlite:{path} cannot be used: .*{problem}"):
        SqliteFile(path)


def test_the_database_of_another_program(path: str) -> None:
    altered(path, "CREATE TABLE recipes (name)")
    with pytest.raises(ConfigError, match="belongs to another program"):
        SqliteFile(path)
    altered(path, "INSERT INTO recipes VALUES ('tea')")


def test_what_is_no_database(path: str) -> None:
    Path(path).write_text("Dear diary, " * 100)
    with pytest.raises(ConfigError, match="not a database: move it away"):
        SqliteFile(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its directory must exist"):
        SqliteFile(str(tmp_path))
    with pytest.raises(ConfigError, match="its directory must exist"):
        SqliteFile(str(tmp_path / "nowhere" / "pushes.db"))


@pytest.mark.parametrize("name", ["old.db", "new.db"])
def test_a_place_that_cannot_be_written(name: str) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "old.db"
        SqliteFile(str(path)).close()
        path.chmod(0o444)
        Path(directory).chmod(0o555)
        with as_nobody(), pytest.raises(ConfigError, match="this user must be able to write"):
            SqliteFile(f"{directory}/{name}")
        Path(directory).chmod(0o755)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the privileges of root, whom no mode of a file stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_memory_is_no_durable_store() -> None:
    with pytest.raises(ConfigError, match="no write-ahead log"):
        SqliteFile(":memory:")


def test_a_damaged_page_is_found_when_it_is_read(path: str) -> None:
    file = SqliteFile(path)
    file.write(held(*range(1, 500), size=500))
    file.close()
    data = bytearray(Path(path).read_bytes())
    for page in range(5, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    Path(path).write_bytes(data)
    file = SqliteFile(path)
    with pytest.raises(ConfigError, match="malformed: move it away"):
        numbers(file)
    file.close()


def test_space_of_a_great_burst_is_given_back_at_the_next_start(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "SLACK_PAGES", 10)
    file = SqliteFile(path)
    file.write(held(*range(1000), size=1000))
    file.write({HELD: {(n, "aa"): None for n in range(990)}})
    file.close()
    size = Path(path).stat().st_size
    file = SqliteFile(path)
    assert numbers(file) == list(range(990, 1000))
    file.close()
    assert Path(path).stat().st_size < size / 5


# -- writing


def test_what_is_written_is_there_by_number(path: str, file: SqliteFile) -> None:
    file.write({**held(3, 1, 2), UNREGISTERED: {("bb",): ("bb", 17)}})
    file.close()
    file = SqliteFile(path)
    assert numbers(file) == [1, 2, 3]
    assert list(file.rows(UNREGISTERED)) == [("bb", 17)]
    file.close()


def test_one_number_for_many_tokens(file: SqliteFile) -> None:
    tokens = [f"{n:02x}" for n in range(200)]
    file.write({HELD: {(7, token): (7, token, 2, b"") for token in tokens}})
    file.write({HELD: {(7, token): None for token in tokens[1:]}})
    assert list(file.rows(HELD)) == [(7, "00", 2, b"")]


@pytest.mark.parametrize("n", [1, 2, 3, 255, 256, 257, 1000])
def test_any_number_of_rows(file: SqliteFile, n: int) -> None:
    file.write(held(*range(n)))
    assert numbers(file) == list(range(n))
    file.write({HELD: {(i, "aa"): None for i in range(1, n)}})
    assert numbers(file) == [0]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_deleting_looks_each_key_up(file: SqliteFile, table: Table) -> None:
    """One walk through the table for each statement would be a second at a million pushes."""
    plan = file._db.execute(
        f"EXPLAIN QUERY PLAN {table.delete(2)}", [0] * len(table.key) * 2
    ).fetchall()
    assert f"SEARCH {table.name} USING PRIMARY KEY" in str(plan)


def test_a_full_disk_changes_nothing_and_passes(file: SqliteFile) -> None:
    file.write(held(1))
    fill_disk(file)
    with pytest.raises(StoreFailed, match="full"):
        file.write({**held(*range(2, 500), size=1000), META: {("x",): ("x", 1)}})
    assert numbers(file) == [1]
    make_room(file)
    file.write(held(2))
    assert numbers(file) == [1, 2]


def test_a_failure_in_the_middle_changes_nothing(file: SqliteFile) -> None:
    """The first table is written by the time the second turns out to be impossible."""
    impossible: Any = Table("nowhere", ("a",), ())
    with pytest.raises(StoreFailed, match="no such table"):
        file.write({**held(1), impossible: {(1,): (1,)}})
    assert numbers(file) == []
