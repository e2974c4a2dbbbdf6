"""A file of keys that is read again when it changes, so that keys are changed without a restart.

Held by the node for what verifies devices and providers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from trio_push.errors import ConfigError

#: seconds between two looks at a file that is in use: a look is a system call
LOOK_EVERY_S: Final = 1.0
#: bytes; no file of keys is larger
MAX_BYTES: Final = 2**20

log = structlog.get_logger()

T = TypeVar("T")


class KeyFile(Generic[T]):
    """What a file says, by `parse`, which raises ConfigError for what it cannot read."""

    def __init__(
        self,
        flag: str,
        path: str,
        parse: Callable[[bytes], T],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads the file, which was given as `flag`. Raises ConfigError."""
        self._place = f"{flag} {path}"
        self._path = Path(path).expanduser()
        self._parse = parse
        self._now = now
        self._looked_at = now()
        self._problem = ""
        self._value, self._stamp = self._read()

    def __repr__(self) -> str:
        return f"<KeyFile {self._place}>"

    def current(self) -> T:
        """What the file said when last it could be read; the same object while it is unchanged.

        Quick, and at most once a second as slow as the disk. Raises nothing.
        """
        now = self._now()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._value

    def _look(self) -> None:
        try:
            if _stamp_of(self._path.stat()) != self._stamp:
                self._value, self._stamp = self._read()
                log.info("key_file_read_again", file=str(self._path))
            self._problem = ""
        except (OSError, ConfigError) as exc:
            # Half written, perhaps. The keys that were good are good until others are.
            if str(exc) != self._problem:
                self._problem = str(exc)
                log.warning("key_file_unusable", problem=self._problem)

    def _read(self) -> tuple[T, tuple[int, ...]]:
        """The value, and what changes when the file does."""
        try:
            with self._path.open("rb") as file:
                stamp = _stamp_of(os.fstat(file.fileno()))
                data = file.read(MAX_BYTES + 1)
        except OSError as exc:
            raise ConfigError(f"{self._place} cannot be read: {exc.strerror}") from None
        try:
            if len(data) > MAX_BYTES:
                raise ConfigError(f"it has more than {MAX_BYTES} bytes")
            return self._parse(data), stamp
        except ConfigError as exc:
            raise ConfigError(f"{self._place}: {exc}") from None


def _stamp_of(stat: os.stat_result) -> tuple[int, ...]:
    # the inode, because a file that is put in place of another may be as old and as long
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
