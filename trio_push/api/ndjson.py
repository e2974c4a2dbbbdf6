"""Newline-delimited JSON as it arrives: chunks in, lines out. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

#: A payload of 4096 bytes may take six times that in JSON's escapes; the rest is for the fields.
MAX_LINE_BYTES: Final = 32 * 1024


class Line(NamedTuple):
    """One line, without its end."""

    #: from 1; blank lines count
    number: int
    #: None when it was longer than MAX_LINE_BYTES
    data: bytes | None


class LineSplitter:
    """Cuts a body into lines and holds no more of it than one line."""

    def __init__(self) -> None:
        self._number = 0
        self._begun = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that `chunk` completes, without blank ones."""
        *ends, rest = chunk.split(b"\n")
        lines = []
        for end in ends:
            self._extend(end)
            lines += self._complete()
        self._extend(rest)
        return lines

    def finish(self) -> list[Line]:
        """The last line, when the body did not end with a line break."""
        return self._complete() if self._begun or self._too_long else []

    def _extend(self, part: bytes) -> None:
        if self._too_long or len(self._begun) + len(part) > MAX_LINE_BYTES:
            self._too_long = True
            self._begun.clear()
        else:
            self._begun += part

    def _complete(self) -> list[Line]:
        data = None if self._too_long else bytes(self._begun).strip()
        self._number += 1
        self._begun.clear()
        self._too_long = False
        return [] if data == b"" else [Line(self._number, data)]
