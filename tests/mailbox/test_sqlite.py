"""Group commit: what is written together, when, and what happens when it cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fakes import Disk, push
from trio_push.errors import ConfigError, StoreFailed
from trio_push.mailbox.group_commit import FLUSH_S, RETRY_S
from trio_push.mailbox.journal import Row
from trio_push.mailbox.sqlite import SqliteJournal
from trio_push.mailbox.sqlite_file import NUMBERS, SqliteFile
from trio_push.push import Push, State


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "pushes.db")


@pytest.fixture
async def journal(
    path: str, disk: Disk, autojump_clock: MockClock, nursery: trio.Nursery
) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path, write=disk.write)
    await nursery.start(journal.run)
    yield journal
    journal.close()


def keep(journal: SqliteJournal, *numbers: int) -> None:
    for seq in numbers:
        journal.keep(seq, push(b"%d" % seq), State.STORED)


def numbers(journal: SqliteJournal) -> list[int]:
    return [row.seq for row in journal.rows()]


# -- what is written together


async def test_nothing_recorded_is_nothing_to_wait_for(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    await journal.commit()
    await trio.sleep(1)
    assert disk.transactions == []


async def test_a_commit_is_on_disk_when_it_returns(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    keep(journal, 1, 2)
    assert numbers(journal) == []
    at = trio.current_time()
    await journal.commit()
    assert numbers(journal) == [1, 2]
    assert trio.current_time() == at


async def test_what_comes_during_a_commit_shares_the_next(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    done: list[int] = []

    async def commit(seq: int) -> None:
        keep(journal, seq)
        await journal.commit()
        done.append(seq)

    disk.stall()
    async with trio.open_nursery() as nursery:
        for seq in range(1, 6):
            nursery.start_soon(commit, seq)
            await wait_all_tasks_blocked()
        assert done == []
        disk.gate.set()
    assert sorted(done) == [1, 2, 3, 4, 5]
    assert disk.transactions == [[1], [2, 3, 4, 5]]


async def test_a_commit_waits_for_what_is_being_written(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    disk.stall()
    keep(journal, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.commit)
        await wait_all_tasks_blocked()
        nursery.start_soon(journal.commit)  # nothing new was recorded
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        disk.gate.set()
    assert disk.transactions == [[1]]


async def test_what_nobody_waits_for_is_written_soon(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    keep(journal, 1)
    await trio.sleep(FLUSH_S / 2)
    keep(journal, 2)
    await trio.sleep(FLUSH_S * 0.4)
    assert disk.transactions == []
    await trio.sleep(FLUSH_S * 0.2)
    assert disk.transactions == [[1, 2]]
    await trio.sleep(1)
    assert disk.transactions == [[1, 2]]


async def test_a_commit_takes_along_what_nobody_waits_for(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    journal.drop(7, "aa")
    keep(journal, 8)
    await journal.commit()
    assert disk.transactions == [[7, 8]]


async def test_a_cancelled_commit_is_written_nonetheless(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    keep(journal, 1)
    with trio.move_on_after(0):
        await journal.commit()
    await trio.sleep(FLUSH_S)
    assert numbers(journal) == [1]


async def test_the_last_word_counts(autojump_clock: MockClock, journal: SqliteJournal) -> None:
    keep(journal, 1, 2, 3)
    journal.drop(1, "aa")
    journal.keep(2, push(b"2"), State.AWAITING_ACK)
    await journal.commit()
    journal.drop(3, "aa")
    keep(journal, 3)
    journal.drop(9, "aa")
    await journal.commit()
    assert [(row.seq, row.state) for row in journal.rows()] == [
        (2, State.AWAITING_ACK),
        (3, State.STORED),
    ]


async def test_unregistered(autojump_clock: MockClock, journal: SqliteJournal) -> None:
    journal.unregister("aa", 5)
    journal.unregister("bb", 6)
    await journal.commit()
    journal.register("aa")
    await journal.commit()
    assert journal.unregistered() == {"bb": 6}


# -- numbers


async def test_numbers_are_set_aside_before_they_are_used(
    autojump_clock: MockClock, journal: SqliteJournal, path: str, disk: Disk
) -> None:
    journal.advance(NUMBERS // 2)
    await trio.sleep(1)
    assert disk.transactions == []
    journal.advance(NUMBERS // 2 + 1)
    journal.advance(NUMBERS // 2 + 2)
    await trio.sleep(1)
    assert len(disk.transactions) == 1
    journal.close()
    file = SqliteFile(path)
    assert file.seq == NUMBERS // 2 + 1 + NUMBERS
    file.close()


# -- a disk that does not take it


async def test_a_failure_is_told_to_all_who_wait(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    disk.is_full = True
    keep(journal, 1)
    for _ in range(2):
        with pytest.raises(StoreFailed, match="full"):
            await journal.commit()
    assert journal.failure == "database or disk is full"
    assert journal.failures == 2


async def test_it_recovers_by_itself(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    disk.is_full = True
    keep(journal, 1)
    journal.unregister("bb", 6)
    await trio.sleep(5 * RETRY_S)
    disk.is_full = False
    assert journal.failure is not None
    await trio.sleep(RETRY_S + FLUSH_S)
    assert journal.failure is None
    assert numbers(journal) == [1]
    assert journal.unregistered() == {"bb": 6}


async def test_what_was_recorded_since_a_failure_is_newer(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    disk.stall()
    disk.is_full = True
    keep(journal, 1, 2)
    await trio.sleep(1.5 * FLUSH_S)
    journal.drop(1, "aa")  # while the batch that keeps it is on its way to fail
    disk.gate.set()
    await wait_all_tasks_blocked()
    disk.is_full = False
    await journal.commit()
    assert numbers(journal) == [2]


async def test_a_failure_ends_only_when_something_was_written(
    autojump_clock: MockClock, journal: SqliteJournal, disk: Disk
) -> None:
    """Taking back what was never written would succeed on a full disk too."""
    disk.is_full = True
    keep(journal, 1)
    with pytest.raises(StoreFailed):
        await journal.commit()
    journal.drop(1, "aa")
    disk.is_full = False
    journal._file._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreFailed, match="readonly"):
        await journal.commit()
    journal._file._db.execute("PRAGMA query_only = OFF")
    await journal.commit()
    assert journal.failure is None


async def test_in_a_thread(path: str, nursery: trio.Nursery) -> None:
    journal = SqliteJournal(path)
    await nursery.start(journal.run)
    keep(journal, 1)
    await journal.commit()
    assert numbers(journal) == [1]
    nursery.cancel_scope.cancel()
    journal.close()


# -- rows


FIELDS = {
    "id": st.text(),
    "token": st.sampled_from(["aa", "bb"]),
    "payload": st.binary(),
    "topic": st.text(),
    "collapse_id": st.none() | st.text(),
    "priority": st.sampled_from([1, 5, 10]),
    "expires_at": st.floats(0, 1e10),
    "not_before": st.floats(0, 1e10),
    "event": st.none() | st.text(),
    "newest_wins": st.booleans(),
    "wants_ack": st.booleans(),
}
states = st.sampled_from([State.STORED, State.DELAYED, State.AWAITING_ACK])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.builds(Push, **FIELDS), states), max_size=5))
def test_a_push_comes_back_as_it_was(pushes: list[tuple[Push, State]]) -> None:
    assert FIELDS.keys() == set(Push.__struct_fields__)
    with TemporaryDirectory() as directory:
        journal = SqliteJournal(f"{directory}/pushes.db")
        for seq, (push, state) in enumerate(pushes):
            journal.keep(seq, push, state)
        journal._file.write(journal._commits.record().tables)
        assert list(journal.rows()) == [Row(seq, *each) for seq, each in enumerate(pushes)]
        journal.close()


@pytest.mark.parametrize(
    "row",
    [
        (1, "aa", 2, b"\xc1"),
        (1, "aa", 2, b"\x80"),
        (1, "aa", 99, None),
        (1, "aa", 2, "text"),
    ],
)
def test_a_row_that_nobody_can_read(path: str, row: tuple[object, ...]) -> None:
    journal = SqliteJournal(path)
    data = msgspec.msgpack.encode(push()) if row[3] is None else row[3]
    journal._file._db.execute("REPLACE INTO held VALUES (?, ?, ?, ?)", (*row[:3], data))
    with pytest.raises(ConfigError, match=r"its table held is damaged \(.+\): move it away"):
        list(journal.rows())
    journal.close()
