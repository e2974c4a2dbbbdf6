"""A file of keys that changes while it is in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trio_push.auth import keyfile
from trio_push.auth.keyfile import KeyFile
from trio_push.errors import ConfigError


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_bytes(b"one")
    return path


def parse(data: bytes) -> list[bytes]:
    if not data or b"bad" in data:
        raise ConfigError("that is no key")
    return [data]


def open_file(path: Path, time: Time) -> KeyFile[list[bytes]]:
    return KeyFile("--keys", str(path), parse, now=time)


def replace(path: Path, data: bytes) -> None:
    """As it should be done: there is always a whole file."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.rename(path)


def test_it_is_read_again_when_it_has_changed(path: Path, time: Time) -> None:
    file = open_file(path, time)
    first = file.current()
    assert first == [b"one"]
    replace(path, b"two")
    time.now = 0.99
    assert file.current() is first
    time.now = 1.0
    assert file.current() == [b"two"]


def test_as_long_as_it_is_the_same_so_is_what_it_says(path: Path, time: Time) -> None:
    file = open_file(path, time)
    first = file.current()
    for _ in range(5):
        time.now += 10
        assert file.current() is first


def test_a_file_that_is_as_old_and_as_long_is_another(path: Path, time: Time) -> None:
    file = open_file(path, time)
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(b"two")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)
    time.now = 1
    assert file.current() == [b"two"]


def test_a_link_may_lead_elsewhere(path: Path, time: Time) -> None:
    """How Kubernetes changes secrets."""
    link = path.with_name("link")
    link.symlink_to(path)
    file = open_file(link, time)
    other = path.with_name("other")
    other.write_bytes(b"two")
    link.unlink()
    link.symlink_to(other)
    time.now = 1
    assert file.current() == [b"two"]


@pytest.mark.parametrize("harm", ["empty", "bad", "gone", "folder", "huge"])
def test_keys_stay_good_until_there_are_others(
    harm: str, path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_file(path, time)
    if harm == "gone":
        path.unlink()
    elif harm == "folder":
        path.unlink()
        path.mkdir()
    else:
        monkeypatch.setattr(keyfile, "MAX_BYTES", 100)
        path.write_bytes({"empty": b"", "bad": b"bad s3cret", "huge": b"s3cret" * 50}[harm])
    with capture_logs() as events:
        for now in (1, 2, 3):
            time.now = now
            assert file.current() == [b"one"]
    (event,) = events
    assert event["log_level"] == "warning"
    assert "s3cret" not in str(event)
    if harm == "folder":
        path.rmdir()
    path.write_bytes(b"two")
    time.now = 4
    assert file.current() == [b"two"]


def test_how_often_the_disk_is_asked(
    path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_file(path, time)
    stats = []
    stat = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self: stats.append(self) or stat(self))
    for hundredth in range(500):
        time.now = hundredth / 100
        file.current()
    assert len(stats) == 4


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, r"^--keys .*/keys cannot be read: No such file or directory$"),
        (b"bad s3cret", r"^--keys .*/keys: that is no key$"),
    ],
)
def test_at_the_start_it_has_to_be_right(
    data: bytes | None, problem: str, path: Path, time: Time
) -> None:
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=problem):
        open_file(path, time)


def test_it_shows_nothing_of_what_is_in_it(path: Path, time: Time) -> None:
    assert repr(open_file(path, time)) == f"<KeyFile --keys {path}>"
