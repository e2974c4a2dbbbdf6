"""A client in another language that runs beside the test and tells what it sees, a line each."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.serving import PATIENCE_S

Said = dict[str, Any]


class Talker:
    """A running program that prints JSON objects, each with a `kind`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        self._process = process
        self._reader = threading.Thread(target=self._read, name="talker")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def tell(self, line: str) -> None:
        """Give it a line of standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self, kind: str, *, past: str = "") -> Said:
        """The next thing it says, which must be of that kind; those of kind `past` are skipped."""
        while (said := self._next())["kind"] == past:
            pass
        assert said["kind"] == kind, said
        return said

    def _next(self) -> Said:
        line = self._lines.get(timeout=PATIENCE_S)
        assert line, "it has ended"
        said: Said = json.loads(line)
        return said

    def hears_nothing(self, for_s: float) -> bool:
        try:
            line = self._lines.get(timeout=for_s)
        except queue.Empty:
            return True
        raise AssertionError(line)

    def end(self) -> int:
        """Its exit status, once it has ended by itself with nothing more to say."""
        assert self._lines.get(timeout=PATIENCE_S) == ""
        return self._process.wait(PATIENCE_S)

    def stop(self) -> None:
        self._process.kill()
        self._reader.join(PATIENCE_S)


@contextmanager
def talking(*command: str | Path, env: dict[str, str]) -> Iterator[Talker]:
    words = [str(word) for word in command]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=env) as process:
        talker = Talker(process)
        try:
            yield talker
        finally:
            talker.stop()
