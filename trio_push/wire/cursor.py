"""Where a device stands in its event stream: `<epoch>:<number>`, the id of its last event.

The number counts up over all events of a node; the epoch names the life of the store that
counts. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

#: digits of a number that is looked at; 64 bits have 20
_MAX_DIGITS = 20


class Cursor(NamedTuple):
    """The last event that a device has."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"


def parse_cursor(text: bytes) -> Cursor | None:
    """The cursor that an event id stands for; None for an id that we did not give."""
    epoch, colon, number = text.strip().partition(b":")
    if not colon or not number.isdigit() or len(number) > _MAX_DIGITS or not epoch.isalnum():
        return None
    return Cursor(epoch.decode("ascii"), int(number))
